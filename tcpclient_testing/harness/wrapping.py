"""Helpers of the unittest mixins: wrap a test's methods while it runs, and check its base classes."""

from __future__ import annotations

from typing import Any, Callable

__all__ = ["MethodWrappers", "check_bases"]

__unittest = True


class MethodWrappers:
    """A context in which a test's instance has wrappers in place of some of its methods, under the same names."""

    def __init__(self, test: Any, wrappers: dict[str, Callable[..., Any]]) -> None:
        self._test = test
        self._wrappers = wrappers
        self._before = dict(test.__dict__)

    def __enter__(self) -> None:
        for name, wrapper in self._wrappers.items():
            self._test.__dict__[name] = _named_like(wrapper, getattr(self._test, name))

    def __exit__(self, *exc_info: object) -> None:
        for name in self._wrappers:
            self._test.__dict__.pop(name, None)
            if name in self._before:  # pytest also puts a method there, and removes it
                self._test.__dict__[name] = self._before[name]


def _named_like(wrapper: Any, original: Any) -> Any:
    """Return `wrapper` with the names, the text and the attributes of the method in whose place it stands."""
    wrapper.__name__ = getattr(original, "__name__", None)
    wrapper.__qualname__ = getattr(original, "__qualname__", None)
    wrapper.__doc__ = getattr(original, "__doc__", None)
    wrapper.__module__ = getattr(original, "__module__", None)
    # Marks such as unittest.skip and expectedFailure are attributes of the method.
    wrapper.__dict__.update(getattr(original, "__dict__", {}))
    return wrapper


def check_bases(cls: type, mixin: type, needed: type, advice: str) -> None:
    """Raise `TypeError` if the test case `cls` lacks the base `needed`, or has a class of unittest before `mixin`.

    A class without a base from unittest is itself a mixin, and passes. `advice` says what else the user can do in the
    first case.
    """
    of_unittest = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "unittest"]
    if not of_unittest:
        return
    others = [base for base in cls.__bases__ if not issubclass(base, mixin)]
    bases = [base for base in cls.__bases__ if issubclass(base, mixin)] + others
    if not issubclass(cls, needed):
        wrong = next(base for base in cls.__bases__ if issubclass(base, of_unittest[-1]))
        remedy = f"write `{_header(cls, [needed if base is wrong else base for base in bases])}`" \
            if wrong in of_unittest else f"derive {_name(wrong)} from that"
        raise TypeError(f"{mixin.__name__} is for {_name(needed)}, which {cls.__name__} is not: {remedy}{advice}")
    if cls.__mro__.index(mixin) > cls.__mro__.index(of_unittest[0]):
        raise TypeError(f"{mixin.__name__} is to be named before the test case class: write `{_header(cls, bases)}`")


def _header(cls: type, bases: list[type]) -> str:
    return f"class {cls.__name__}({', '.join(map(_name, bases))})"


def _name(base: type) -> str:
    return f"unittest.{base.__name__}" if base.__module__.partition(".")[0] == "unittest" else base.__name__
