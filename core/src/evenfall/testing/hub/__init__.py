"""A small Hugging Face Hub on this machine, for tests of pushing and pulling.

`server.serve` starts it; a process that has its address in HF_ENDPOINT talks to it through the real
huggingface_hub. It serves what models need: accounts, repositories, branches, LFS uploads, commits,
files. Xet transfers are not served; set HF_HUB_DISABLE_XET=1.
"""
