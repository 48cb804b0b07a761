"""The functions of `mamba_ssm` and `causal_conv1d`, with their arguments, on our kernels."""
