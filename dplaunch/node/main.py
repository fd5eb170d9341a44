"""``__main__.py`` of the bundle: ``python3 -I -S BUNDLE guard``, ``… rehearsal vllm ARGS…``, ``… pods …``.

The packages are top-level in the bundle only: here mypy does not find them.
"""

import io
import sys


def main() -> int:
    """Run the program that the first argument names; its exit code."""
    if sys.argv[1:2] == ["rehearsal"]:
        import rehearsal  # type: ignore[import-not-found]  # noqa: PLC0415 - only what was asked for

        return int(rehearsal.main(sys.argv[2:]))
    if sys.argv[1:2] == ["pods"]:
        import pods  # type: ignore[import-not-found]  # noqa: PLC0415 - only what was asked for

        return int(pods.main(sys.argv[2:]))
    if sys.argv[1:] == ["guard"]:
        import guard.session  # type: ignore[import-not-found]  # noqa: PLC0415 - only what was asked for

        return int(guard.session.run_from(io.FileIO(0, closefd=False).readline(), 0, 1))
    sys.stderr.write("usage: python3 -I -S BUNDLE guard | pods OPTIONS | rehearsal PROGRAM ARGS\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
