"""How a test case comes by wrappers for its parts, in place of its methods, while it runs."""

from __future__ import annotations

from typing import Any, Callable

__all__ = ["Wrapped"]

__unittest = True


class Wrapped:
    """While a test runs, its instance has wrappers for some of its methods, under the same names."""

    def __init__(self, test: Any, wrappers: dict[str, Callable[..., Any]]) -> None:
        self._test = test
        self._wrappers = wrappers
        self._before = dict(test.__dict__)

    def __enter__(self) -> None:
        for name, wrapper in self._wrappers.items():
            original = getattr(self._test, name)
            for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
                setattr(wrapper, attribute, getattr(original, attribute, None))
            # Marks such as unittest.skip and expectedFailure are attributes of the method.
            wrapper.__dict__.update(getattr(original, "__dict__", {}))
            self._test.__dict__[name] = wrapper

    def __exit__(self, *exc_info: object) -> None:
        for name in self._wrappers:
            self._test.__dict__.pop(name, None)
            if name in self._before:  # pytest, too, puts a method there, and takes it away
                self._test.__dict__[name] = self._before[name]
