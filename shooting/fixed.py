"""What is built once and stays: attributes and dictionaries that refuse a change.

The library derives shapes, inverses and compiled problems from fields, metrics and settings, and
keeps them. So none of these can be changed; parameters can, and nothing is derived from them in
advance.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, TypeVar

from torch import nn

K = TypeVar("K")
V = TypeVar("V")


def refuse_change(owner: object, name: str) -> NoReturn:
    """Say that an attribute stays as it was built.

    Raises:
        AttributeError: In any case.
    """
    kind = type(owner).__name__
    raise AttributeError(
        f"expected the {kind} to stay as it was built, got a change of {name!r}; build another "
        f"{kind}"
    )


class Fixed:
    """A base of classes whose attributes stay once `_frozen` is set, at the end of building."""

    _frozen = False

    def __setattr__(self, name: str, value: object) -> None:
        if self._frozen:
            refuse_change(self, name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if self._frozen:
            refuse_change(self, name)
        super().__delattr__(name)


class FixedModule(nn.Module):
    """A base of modules whose settings stay once they are set; parameters may change."""

    _BUILT: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._BUILT and name in self.__dict__:
            refuse_change(self, name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._BUILT:
            refuse_change(self, name)
        super().__delattr__(name)


class FixedDict(dict[K, V]):
    """A dictionary that does not change; unlike a mapping proxy it can be copied and pickled."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"expected the entries {list(self)} to stay as they were built, got a change; build "
            "what holds them anew, or change a copy, dict(...)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)
