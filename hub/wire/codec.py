"""Frames to plain values and back: the two codecs, and the one checked walk at the door.

Decoding is in three steps: bytes to plain values (a hook refuses extension types), one walk that
enforces the limits of the wire, then conversion to the request's declared type. Nothing later in the
hub sees a value that this walk did not accept. Source: DESIGN.md section 4, "Limits at the door".
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from hub.wire.errors import HubError
from hub.wire.frames import ok
from hub.wire.requests import BY_NAME, REQUESTS, Request
from hub.wire.sentences import in_words

FRAME_BYTES: Final = 1024 * 1024
"""The largest frame a client may send, in bytes."""
OPERATOR_FRAME_BYTES: Final = 64 * 1024 * 1024
"""The largest frame on DIR/hub.sock, over which whole programmes are imported, in bytes."""
FRAGMENTS: Final = 256
NESTING: Final = 32
INTEGER: Final = 2**53 - 1
ECHO: Final = 64
"""How many characters of a name that a client made up a refusal repeats."""

Frame = str | bytes
"""What a client sent: a text frame is a str, a binary frame bytes. What is sent is always encoded bytes."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_T = TypeVar("_T")


class Undecodable(HubError):
    """A frame, or one member of it, that could not be decoded at all: counts against the socket."""

    def __init__(self, message: str) -> None:
        super().__init__("frame.malformed", message)


class Shared:
    """The `seq` and data of an answer that many requests get: encoded once per codec, each time with another id."""

    __slots__ = ("data", "json", "msgpack", "seq")

    def __init__(self, data: Any, seq: int | None) -> None:
        self.data = data
        self.seq = seq
        self.json: bytes | None = None
        """What stands behind the id."""
        self.msgpack: tuple[bytes, bytes] | None = None
        """What stands before the id, and behind it."""


@runtime_checkable
class Codec(Protocol):
    """One subprotocol: how plain values become frames and frames become plain values."""

    subprotocol: str
    binary: bool

    def request(self, frame: Frame) -> Request | None:
        """Return the one good request in a frame, or None where `decode` has to look closer."""

    def decode(self, frame: Frame) -> Any:
        """Return the plain values in a frame; raise `Undecodable`."""

    def encode(self, message: Mapping[str, Any] | list[Any]) -> bytes:
        """Return the payload of the frame that holds one message, or a part of one for `msgspec.Raw`."""

    def answer(self, request: int, shared: Shared) -> bytes:
        """Return the payload of the frame that answers a request with what others are answered too."""


_HALF_PAIR = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


def _decode_errors(error: Exception, text: str = "") -> Undecodable:
    problem = str(error)
    if "surrogate" in problem or ("truncated" in problem and _HALF_PAIR.search(text)):
        return Undecodable("A text in the frame holds one half of a surrogate pair, such as \\ud800; send both.")
    if isinstance(error, RecursionError):
        return Undecodable(f"The frame nests deeper than {NESTING} levels; flatten it.")
    if isinstance(error, UnicodeDecodeError):
        return Undecodable("A text in the frame is not valid UTF-8; encode it again.")
    return Undecodable(f"The frame could not be decoded: {error}. Send one object or an array of objects.")


def _settled_texts(request: Request) -> Request | None:
    """Return a request all of whose texts are printable, and whose other values are checked."""
    for name in _OPEN[type(request)]:
        value = getattr(request, name)
        if type(value) is dict and _HARMLESS.issuperset(map(type, value.values())):
            continue
        if value is None or value is msgspec.UNSET:
            continue
        if not (type(value) is str or _settle(value, 2)):
            return None
    return request


def _settled(request: Request, names: tuple[str, ...]) -> Request | None:
    """Return a request whose named values are checked, or None where the closer look would refuse or change one."""
    for name in names:
        value = getattr(request, name)
        if value is None or value is msgspec.UNSET:
            continue
        if not (value.isprintable() if type(value) is str else _settle(value, 2)):
            return None
    return request


def _settle(value: Any, depth: int) -> bool:
    """Check one value of a decoded request; texts that are not printable are left to the closer look."""
    kind = type(value)
    if kind is str:
        return bool(value.isprintable())
    if kind is dict or kind is list:
        _checked(value, depth)
        return True
    if kind is bool or value is None:
        return True
    if kind is int:
        return bool(-INTEGER <= value <= INTEGER)
    if kind is float:
        return math.isfinite(value)
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            field = getattr(value, name)
            if not (field.isprintable() if type(field) is str else _settle(field, depth + 1)):
                return False
        return True
    return False


_FREE: Final[dict[type[Request], tuple[str, ...]]] = {
    kind: tuple(f.name for f in msgspec.structs.fields(kind) if f.name != "id") for kind in REQUESTS
}
"""The fields of each request but its id, which its type bounds."""


_HARMLESS: Final = frozenset({str, bool, type(None)})
"""The types of values that have nothing to check where texts are known to be printable."""


def _texts_only(kind: msgspec.inspect.Type) -> bool:
    """Say whether a field of this type holds nothing but texts, and numbers that its type bounds as the wire does."""
    if isinstance(kind, msgspec.inspect.IntType):
        return (kind.ge if kind.ge is not None else -math.inf) >= -INTEGER and (kind.le or math.inf) <= INTEGER
    if isinstance(kind, msgspec.inspect.UnionType):
        return all(map(_texts_only, kind.types))
    if isinstance(kind, msgspec.inspect.StructType):
        return all(_texts_only(field.type) for field in kind.fields)
    if isinstance(kind, msgspec.inspect.LiteralType):
        return all(isinstance(value, str) for value in kind.values)
    return isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.NoneType)


_OPEN: Final[dict[type[Request], tuple[str, ...]]] = {
    kind: tuple(
        field.name
        for field in cast("msgspec.inspect.StructType", msgspec.inspect.type_info(kind)).fields
        if field.name != "id" and not _texts_only(field.type)
    )
    for kind in REQUESTS
}
"""Those of them that can hold anything but texts."""


def _left_out(kind: type[Request], names: tuple[str, ...]) -> tuple[Callable[[Request], Any], Any]:
    """Return what reads fields of a request, and what it reads where a client gave none of them."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    if not names:
        return type, kind
    values = tuple(defaults[name] for name in names)
    return operator.attrgetter(*names), values[0] if len(values) == 1 else values


_LEFT_OUT: Final = {
    kind: _left_out(kind, names)
    for kind, names in _OPEN.items()
    if all(not field.required for field in msgspec.structs.fields(kind) if field.name in names)
}
"""How to see that a request has nothing in those fields: for each kind that can do without them."""


_ANY_REQUEST: Any = functools.reduce(operator.or_, REQUESTS)


class JsonCodec:
    """`aether.v1.json`: text frames."""

    subprotocol = "aether.v1.json"
    binary = False

    def request(self, frame: Frame) -> Request | None:
        """Return the one good request in a frame, or None where `decode` has to look closer."""
        try:
            request: Request = self._requests.decode(frame)
            # Where the whole text is printable and nothing is escaped, so is every text in it.
            if type(frame) is str and frame.isprintable() and "\\" not in frame:
                left_out = _LEFT_OUT.get(type(request))
                if left_out is not None and left_out[0](request) == left_out[1]:
                    return request
                return _settled_texts(request)
            return _settled(request, _FREE[type(request)])
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError, HubError, _Unfit):
            return None  # the closer look finds the code and the path

    def decode(self, frame: Frame) -> Any:
        """Return the plain values in a frame; raise `Undecodable`."""
        try:
            return self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, UnicodeEncodeError, RecursionError) as error:
            raise _decode_errors(error, frame if isinstance(frame, str) else frame.decode("utf-8", "replace")) from None

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder()
        self._requests = msgspec.json.Decoder(_ANY_REQUEST)
        self._encoder = msgspec.json.Encoder()

    def encode(self, message: Mapping[str, Any] | list[Any]) -> bytes:
        """Return the payload of the frame that holds one message."""
        return self._encoder.encode(message)

    def answer(self, request: int, shared: Shared) -> bytes:
        """Return the payload of the frame that answers a request with what others are answered too."""
        rest = shared.json
        if rest is None:
            rest = shared.json = self.encode(ok(0, shared.data, shared.seq)).removeprefix(b'{"op":"ok","id":0')
        return b'{"op":"ok","id":%d%b' % (request, rest)


def _refuse_extension(code: int, data: memoryview) -> Any:
    raise msgspec.ValidationError(f"MessagePack extension type {code} is not used on this wire")


class MsgpackCodec:
    """`aether.v1.msgpack`: binary frames."""

    subprotocol = "aether.v1.msgpack"
    binary = True

    def __init__(self) -> None:
        self._decoder = msgspec.msgpack.Decoder(ext_hook=_refuse_extension)
        self._requests = msgspec.msgpack.Decoder(_ANY_REQUEST, ext_hook=_refuse_extension)
        self._encoder = msgspec.msgpack.Encoder()

    def request(self, frame: Frame) -> Request | None:
        """Return the one good request in a frame, or None where `decode` has to look closer."""
        if isinstance(frame, str):
            return None
        try:
            request: Request = self._requests.decode(frame)
            return _settled(request, _FREE[type(request)])
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError, HubError, _Unfit):
            return None  # the closer look finds the code and the path

    def decode(self, frame: Frame) -> Any:
        """Return the plain values in a frame; raise `Undecodable`."""
        if isinstance(frame, str):
            raise Undecodable("MessagePack travels in binary frames.")
        try:
            return self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
            raise _decode_errors(error) from None

    def encode(self, message: Mapping[str, Any] | list[Any]) -> bytes:
        """Return the frame that holds one message."""
        return self._encoder.encode(message)

    def answer(self, request: int, shared: Shared) -> bytes:
        """Return the frame that answers a request with what others are answered too."""
        parts = shared.msgpack
        if parts is None:
            head, _, rest = self.encode(ok(0, shared.data, shared.seq)).partition(b"\xa2id\x00")
            parts = shared.msgpack = (head + b"\xa2id", rest)
        return parts[0] + self._encoder.encode(request) + parts[1]


JSON: Final = JsonCodec()
MSGPACK: Final = MsgpackCodec()
CODECS: Final[dict[str, Codec]] = {c.subprotocol: c for c in (JSON, MSGPACK)}


class _Unfit(Exception):
    """A value that the wire does not carry; `steps` lead to it, the innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps: list[str] = []


def check(value: Any, path: str = "") -> Any:
    """Return `value` as the hub will hold it, or raise `data.invalid` with the path at fault below `path`.

    Refuses what the wire does not carry: deep nesting, integers beyond 2^53-1, numbers that are not
    finite, control characters, keys that are not text, bytes and extension types. CR LF becomes LF.
    """
    try:
        return _checked(value, 1)
    except _Unfit as unfit:
        steps = [path] if path else []
        raise HubError("data.invalid", unfit.message, path=".".join([*steps, *unfit.steps[::-1]]) or None) from None


def _checked(value: Any, depth: int) -> Any:
    """Check one value. Paths are put together only where something is refused: keys may be long and many."""
    kind = type(value)
    if kind is str:
        return value if value.isprintable() else _text(value)
    if kind is dict:
        if depth > NESTING:
            raise Undecodable(f"The frame nests deeper than {NESTING} levels; flatten it.")
        for key, item in value.items():
            if type(key) is not str or not (key.isprintable() or _is_key(key)):
                raise _Unfit("Keys of objects are text without control characters.")
            item_kind = type(item)
            if (item_kind is str and item.isprintable()) or item_kind is bool or item is None:
                continue
            try:
                checked = _checked(item, depth + 1)
            except _Unfit as unfit:
                unfit.steps.append(key[:ECHO])
                raise
            if checked is not item:
                value[key] = checked
        return value
    if kind is list:
        if depth > NESTING:
            raise Undecodable(f"The frame nests deeper than {NESTING} levels; flatten it.")
        for n, item in enumerate(value):
            try:
                checked = _checked(item, depth + 1)
            except _Unfit as unfit:
                unfit.steps.append(str(n))
                raise
            if checked is not item:
                value[n] = checked
        return value
    if kind is bool or value is None:
        return value
    if kind is int:
        if -INTEGER <= value <= INTEGER:
            return value
        raise _Unfit("Integers lie within ±(2^53-1); send larger ones as text.")
    if kind is float:
        if math.isfinite(value):
            return value
        raise _Unfit("Numbers are finite; send null instead.")
    raise _Unfit("This wire carries text, numbers, booleans, null, lists and objects.")


def _text(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        raise _Unfit("Text holds no control characters but tab and line ends.")
    return text


def _is_key(key: str) -> bool:
    return not _CONTROL.search(key) and "\r" not in key and "\n" not in key and "\t" not in key


def refine(error: msgspec.ValidationError, code: str = "data.invalid", prefix: str = "", kind: Any = None) -> HubError:
    """Turn a validation error of msgspec into a refusal with the path in the client's words.

    With `kind`, the type that was asked for, the sentence lists the values that are possible.
    """
    message, _, where = str(error).partition(" - at `")
    path = where.rstrip("`").removeprefix("$").lstrip(".")
    path = re.sub(r"\[(\d+)\]", r".\1", path).replace("[...]", ".*").lstrip(".")
    unknown = re.match(r"Object contains unknown field `(.*)`", message)
    missing = re.match(r"Object missing required field `(.*)`", message)
    if unknown or missing:
        name = (unknown or missing)[1][:ECHO]  # type: ignore[index]  # one of the two matched
        path = f"{path}.{name}" if path else name
        message = "There is no such field; remove it." if unknown else "This field is required."
    else:
        message = in_words(message, _choices(kind, path) if kind is not None else ())
    if prefix:
        path = f"{prefix}.{path}" if path else prefix
    return HubError(code, message, path=path or None)


@functools.lru_cache(1024)
def _choices(kind: Any, path: str) -> tuple[str, ...]:
    """Return the texts that are possible at a path of a type, or none where anything else is."""
    here = [msgspec.inspect.type_info(kind)]
    for step in [*filter(None, path.split(".")), None]:
        below: list[msgspec.inspect.Type] = []
        for found in here:
            if isinstance(found, msgspec.inspect.UnionType):
                here.extend(found.types)  # looked at in this same turn
            elif isinstance(found, msgspec.inspect.Metadata):
                here.append(found.type)
            elif step is not None and isinstance(found, msgspec.inspect.StructType):
                below += [field.type for field in found.fields if field.encode_name == step]
            elif step is not None and isinstance(found, msgspec.inspect.ListType):
                below.append(found.item_type)
            elif step is not None and isinstance(found, msgspec.inspect.DictType):
                below.append(found.value_type)
            elif step is None and isinstance(found, msgspec.inspect.LiteralType):
                return tuple(str(value) for value in found.values)
        here = below
    return ()


def readable_id(member: Any) -> int | None:
    """Return the request id of a member where one can be read, else None."""
    found = member.get("id") if type(member) is dict else None
    return found if type(found) is int and 1 <= found <= INTEGER else None


def convert(member: Any) -> Request:
    """Return the request that a decoded member holds; raise `HubError`.

    Raises `Undecodable` for a member that is no object with an `op`, `op.unknown`, or `data.invalid`.
    """
    if type(member) is not dict or type(member.get("op")) is not str:
        raise Undecodable("A message is an object with an `op`.")
    member = check(member)
    kind = BY_NAME.get(member["op"])
    if kind is None:
        name = member["op"][:ECHO]
        raise HubError("op.unknown", f"There is no operation {name!r}; see docs/operations.md.", path="op")
    try:
        return msgspec.convert(member, kind)
    except msgspec.ValidationError as error:
        raise refine(error, kind=kind) from None


def converted(value: Any, kind: type[_T], prefix: str) -> _T:
    """Convert plain values to a declared type; refusals carry `prefix` before their path."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise refine(error, prefix=prefix, kind=kind) from None
