"""The order in which a stream is read."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from evenfall_egru.training.bptt import BpttDataset


def windows(dataset: BpttDataset, stream: int) -> torch.Tensor:
    """The inputs of one stream, concatenated over the windows."""
    return torch.cat(
        [dataset[i]["input_ids"] for i in range(stream, len(dataset), dataset.batch_size)]
    )


def test_a_stream_runs_on_from_window_to_window() -> None:
    dataset = BpttDataset(torch.arange(203), batch_size=4, window=7)
    assert len(dataset) == 4 * 6
    for stream in range(4):
        read = windows(dataset, stream)
        assert torch.equal(read, torch.arange(50 * stream, 50 * stream + 42))


def test_the_label_is_the_next_token() -> None:
    tokens = torch.randint(1000, (300,), generator=torch.Generator().manual_seed(0))
    dataset = BpttDataset(tokens, batch_size=3, window=5)
    dataset.set_epoch(4)
    for index in range(len(dataset)):
        item = dataset[index]
        first = (index % 3) * dataset.stream_length + dataset.bounds[0] + 5 * (index // 3)
        assert torch.equal(item["input_ids"], tokens[first : first + 5])
        assert torch.equal(item["labels"], tokens[first + 1 : first + 6])
        assert int(item["window"]) == index // 3
        assert torch.equal(item["shift_labels"], item["labels"])


@pytest.mark.parametrize(("count", "batch_size", "window"), [(203, 4, 7), (61, 5, 6), (100, 1, 33)])
def test_no_epoch_runs_into_the_next_stream(count: int, batch_size: int, window: int) -> None:
    dataset = BpttDataset(torch.arange(count), batch_size, window)
    offsets = set()
    for epoch in range(60):
        dataset.set_epoch(epoch)
        offsets.add(dataset.bounds[0])
        for stream in range(batch_size):
            last = dataset[len(dataset) - batch_size + stream]["labels"]
            assert len(last) == window
            assert int(last[-1]) <= (stream + 1) * dataset.stream_length
    assert len(offsets) > window // 2
    assert max(offsets) < window


def test_the_offset_depends_on_seed_and_epoch_alone() -> None:
    def offsets(seed: int) -> list[int]:
        dataset = BpttDataset(torch.arange(500), 2, 20, seed)
        sequence = []
        for epoch in range(12):
            dataset.set_epoch(epoch)
            sequence.append(dataset.bounds[0])
        return sequence

    assert offsets(1) == offsets(1) != offsets(2)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_each_rank_keeps_its_streams(ranks: int) -> None:
    """With the sampler of accelerate."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    dataset = BpttDataset(torch.arange(203), batch_size=8, window=3)
    share = 8 // ranks
    for rank in range(ranks):
        batches = BatchSampler(SequentialSampler(dataset), share, drop_last=True)
        for step, indices in enumerate(BatchSamplerShard(batches, ranks, rank)):
            assert [i % 8 for i in indices] == list(range(rank * share, (rank + 1) * share))
            assert {int(dataset[i]["window"]) for i in indices} == {step}


def test_windows_of_random_lengths_cover_the_stream_in_every_epoch() -> None:
    tokens = torch.arange(14_526 * 4 + 1)  # PTB in 64 streams has as many tokens in each
    dataset = BpttDataset(tokens, 4, 70, jitter=5.0, short_windows=0.05)
    assert len(dataset) == 4 * 212
    lengths = []
    for epoch in range(40):
        dataset.set_epoch(epoch)
        for stream in (0, 3):
            read = windows(dataset, stream)
            assert torch.equal(read, torch.arange(14_526 * stream, 14_526 * (stream + 1)))
        assert dataset.bounds == dataset.bounds_of(epoch)
        lengths += [b - a for a, b in itertools.pairwise(dataset.bounds)]
    usual = torch.tensor([float(n) for n in lengths if n > 52])
    assert float(usual.mean()) == pytest.approx(70, abs=0.5)
    assert float(usual.std()) == pytest.approx(5, abs=0.5)
    assert 1 - len(usual) / len(lengths) == pytest.approx(0.05, abs=0.01)
    assert dataset.bounds_of(1) != dataset.bounds_of(2)


@pytest.mark.parametrize(("count", "batch_size", "window"), [(203, 4, 7), (61, 5, 6), (100, 1, 33)])
def test_random_lengths_of_a_short_text_stay_positive(
    count: int, batch_size: int, window: int
) -> None:
    dataset = BpttDataset(torch.arange(count), batch_size, window, jitter=3.0, short_windows=0.5)
    for epoch in range(60):
        dataset.set_epoch(epoch)
        assert all(a < b for a, b in itertools.pairwise(dataset.bounds))
        last = dataset[len(dataset) - 1]["labels"]
        assert int(last[-1]) == batch_size * dataset.stream_length


def test_too_few_tokens() -> None:
    words = "tokens must have at least 53 ids for batch_size 4 and window 7, got 52"
    with pytest.raises(ValueError, match=words):
        BpttDataset(torch.arange(52), 4, 7)
    assert len(BpttDataset(torch.arange(53), 4, 7)) == 4
