"""The functions of `mamba_ssm` and `causal_conv1d` on our kernels, arguments as published."""
