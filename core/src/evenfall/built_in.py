"""What the core registers itself: counters for the modules of torch.nn and one of
transformers, imported on first use."""

from __future__ import annotations

from evenfall.owners import CORE, Owner
from evenfall.version import __version__

OWNER = Owner("core", CORE, __version__)

_ELEMENTWISE = """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d
    BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm GroupNorm InstanceNorm1d InstanceNorm2d
    InstanceNorm3d LocalResponseNorm
    Dropout1d Dropout2d Dropout3d FeatureAlphaDropout LogSoftmax Softmax Softmax2d Softmin
    ChannelShuffle ConstantPad1d ConstantPad2d ConstantPad3d Flatten PixelShuffle
    PixelUnshuffle ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
    ReplicationPad2d ReplicationPad3d Unflatten Upsample ZeroPad1d ZeroPad2d ZeroPad3d
"""

_ACTIVATIONS = """
    CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU
    ReLU6 SELU Sigmoid SiLU Softplus Softshrink Softsign Tanh Tanhshrink Threshold
"""

_KINDS = (
    ("Linear", "torch_nn:LINEAR", "a matrix"),
    ("Conv1d Conv2d Conv3d", "torch_nn:CONVOLUTION", "a convolution"),
    ("Embedding", "torch_nn:EMBEDDING", "rows of a table, no operations"),
    ("MultiheadAttention", "torch_nn:ATTENTION", "four projections"),
    ("RNN GRU LSTM", "torch_rnn:RECURRENT", "input and recurrent matrices"),
    ("RNNCell GRUCell LSTMCell", "torch_rnn:CELL", "input and recurrent matrix of one step"),
    ("ReLU", "torch_nn:RELU", "activity, no operations"),
    (_ACTIVATIONS, "torch_nn:ACTIVATION", "activity, no operations"),
    ("GLU", "torch_nn:GLU", "activity, no operations"),
    ("LayerNorm RMSNorm", "torch_nn:NORM", "no matrix, no operations"),
    ("AlphaDropout Dropout Identity", "torch_nn:DROPOUT", "no matrix, no operations"),
    ("Sequential", "torch_nn:SEQUENTIAL", "each module reads the one before it"),
    (_ELEMENTWISE, "torch_nn:ELEMENTWISE", "no matrix, no operations"),
)

COUNTERS = {
    f"torch.nn.{name}": (f"evenfall.counting.{reference}", summary)
    for names, reference, summary in _KINDS
    for name in names.split()
} | {
    "transformers.pytorch_utils.Conv1D": ("evenfall.counting.torch_nn:CONV1D", "a matrix"),
}
"""For each class, by its public path, the reference of its counter and a summary."""
