"""Checkpoints: trees of arrays and whole optimizers in files, restored bit for bit.

A checkpoint is one file in a format that other programs read: ``.npz`` is NumPy's, and libraries
for torch, JAX and others read ``.safetensors``. Its header describes the trees, and it holds no
pickles.
"""

from gradmill.checkpoints._load import header as header
from gradmill.checkpoints._load import load as load
from gradmill.checkpoints._save import save as save

__all__ = [name for name in dir() if not name.startswith("_")]
