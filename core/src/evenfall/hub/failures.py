"""What a request to the Hub can fail with, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evenfall.errors import HubError, shorten_text

_BY_STATUS = {
    401: "the Hub does not accept the token; run `hf auth login`, or set HF_TOKEN",
    403: "the token may not do this; use one with write access to the repository",
    404: "the Hub has no such repository, revision or file, or the token may not read it",
    412: "the repository changed meanwhile; look at the other change, then try again",
    429: "the Hub allows no more requests for now; try again later",
}


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub and of the connection into a HubError.

    Args:
        action: what failed, such as "pushing to user/model"; the message begins with it.

    Raises:
        HubError: the Hub refuses, cannot be reached, or answers nonsense.
    """
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise HubError(f"{action} failed: {reason}") from error


def _reason(error: BaseException) -> str | None:
    """Why a request failed; None if the error is no failure of a request."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalTokenNotFoundError):
        return "there is no token; run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so that nothing is sent or fetched"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error)
    if isinstance(error, errors.HFValidationError):
        return _words(error)
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "requests"):
        return f"the connection broke ({_words(error) or type(error).__name__}); try again"
    if isinstance(error, RuntimeError | OSError) and error.__cause__ is not None:
        return _reason(error.__cause__)  # such as "Error while uploading", of one file of several
    return None


def _refusal(error: BaseException) -> str | None:
    from huggingface_hub.errors import HfHubHTTPError

    assert isinstance(error, HfHubHTTPError)
    status = int(getattr(error.response, "status_code", 0))
    said = shorten_text(" ".join((error.server_message or "").split()), 300)
    reason = _BY_STATUS.get(status, f"the Hub answers with status {status}")
    return f"{reason} (the Hub: {said})" if said else reason


def _words(error: BaseException) -> str:
    return shorten_text(" ".join(str(error).split()), 300)
