"""A context for tests of refusals: the right kind of error, on one line, with the right exit code."""

from seam_onnx.errors import SeamError


def refusal(kind: type[SeamError], *words: str, code: int = 3):
    """A context in which exactly this kind of error is raised, on one line that has these words."""

    class Expected:
        def __enter__(self):
            return self

        def __exit__(self, raised, error, trace):
            assert raised is kind, f"{raised}: {error}"
            assert "\n" not in str(error)
            assert error.exit_code == code
            assert all(word in str(error) for word in words), str(error)
            return True

    return Expected()
