"""A small folder to publish."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

CARD = """---
license: apache-2.0
library_name: transformers
tags:
- tiny
model-index:
- name: words
  results:
  - task: {type: text-generation}
    dataset: {name: PTB, type: ptb}
    metrics:
    - {type: perplexity, value: 12.35}
---

# words
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one checkpoint."""
    made = tmp_path / "words"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "tiny-thing", "architectures": ["Tiny"]}')
    (made / "results.json").write_text(json.dumps({"evaluations": [{"perplexity": 12.3456}]}))
    (made / "README.md").write_text(CARD)
    (made / ".hidden").write_text("not published")
    save_file({"weight": np.arange(3000.0)}, made / "model.safetensors")
    return made
