"""A Modbus server that is not ours: libmodbus, called through ctypes, in a process of its own.

    python tests/libmodbus_peer.py tcp 15020            serves 127.0.0.1:15020
    python tests/libmodbus_peer.py rtu /dev/pts/5 17    serves address 17 at 9600 8N1

Holding and input register r holds a half of a float32: registers 2n and 2n + 1, high word first, are `value(2n)`, and
2n + 1, 2n + 2 are whatever that makes of them. Coils and discrete inputs are all 0. Prints `ready` and serves for ever.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
import sys

REGISTERS, BITS = 600, 200


def value(register: int) -> float:
    """Give the float that stands in an even register and the next; it is exact and different from all others."""
    return 10 + register / 8


def words() -> list[int]:
    """Give the content of all registers."""
    return [
        word for register in range(0, REGISTERS, 2) for word in struct.unpack(">HH", struct.pack(">f", value(register)))
    ]


class Mapping(ctypes.Structure):
    """modbus_mapping_t, modbus.h of libmodbus 3.1."""

    _fields_ = [
        *[(f"number_{n}", ctypes.c_int) for n in range(8)],
        ("coils", ctypes.POINTER(ctypes.c_uint8)),
        ("discrete", ctypes.POINTER(ctypes.c_uint8)),
        ("input", ctypes.POINTER(ctypes.c_uint16)),
        ("holding", ctypes.POINTER(ctypes.c_uint16)),
    ]


def library() -> ctypes.CDLL | None:
    """Give libmodbus, or None where it is not installed."""
    name = ctypes.util.find_library("modbus")
    if not name:
        return None
    modbus = ctypes.CDLL(name, use_errno=True)
    modbus.modbus_new_tcp.restype = modbus.modbus_new_rtu.restype = ctypes.c_void_p
    modbus.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
    return modbus


def main(kind: str, where: str, address: str = "1") -> None:
    """Serve."""
    modbus = library()
    assert modbus is not None
    mapping = modbus.modbus_mapping_new(BITS, BITS, REGISTERS, REGISTERS)
    for register, word in enumerate(words()):
        mapping.contents.input[register] = mapping.contents.holding[register] = word
    if kind == "tcp":
        context = ctypes.c_void_p(modbus.modbus_new_tcp(b"127.0.0.1", int(where)))
        listener = ctypes.c_int(modbus.modbus_tcp_listen(context, 1))
        print("ready", flush=True)
        while modbus.modbus_tcp_accept(context, ctypes.byref(listener)) >= 0:
            serve(modbus, context, mapping)
    else:
        context = ctypes.c_void_p(modbus.modbus_new_rtu(where.encode(), 9600, ctypes.c_char(b"N"), 8, 1))
        modbus.modbus_set_slave(context, int(address))
        assert modbus.modbus_connect(context) == 0, ctypes.get_errno()
        print("ready", flush=True)
        while True:
            serve(modbus, context, mapping)


def serve(modbus: ctypes.CDLL, context: ctypes.c_void_p, mapping: object) -> None:
    """Answer until the other side goes, or what came was no request."""
    query = ctypes.create_string_buffer(260)
    while (length := modbus.modbus_receive(context, query)) >= 0:
        if length:
            modbus.modbus_reply(context, query, length, mapping)


if __name__ == "__main__":
    main(*sys.argv[1:])
