"""Clients of python-socketio, driven as client.mjs drives the official ones: one JSON command per
line on stdin, one JSON report per line on stdout. A handler of this library answers with what it
returns, so an event that wants an answer gets its own arguments back; and it runs on a thread of
its own, so that events may be reported in another order than they came in."""

import base64
import json
import os
import sys
import threading

import engineio
import socketio

# Its clients give up over a poll with more packets than this, 16 unless told otherwise.
engineio.payload.Payload.max_decode_packets = 10_000

clients = {}  # name -> (Client, namespace)
writing = threading.Lock()


def write(**report):
    line = json.dumps({k: pack(v) for k, v in report.items()})
    with writing:
        print(line, flush=True)


def pack(value):
    if isinstance(value, bytes):
        return {"$binary": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(v) for v in value]
    if isinstance(value, dict):
        return {k: pack(v) for k, v in value.items()}
    return value


def unpack(value):
    if isinstance(value, list):
        return [unpack(v) for v in value]
    if isinstance(value, dict):
        if "$binary" in value:
            return base64.b64decode(value["$binary"])
        return {k: unpack(v) for k, v in value.items()}
    return value


def arguments(args):
    """What emit and call take: a tuple is several arguments."""
    return tuple(unpack(args))


def answered(value):
    """The arguments of an ack, which the library passes on as one value if there is but one."""
    return list(value) if isinstance(value, tuple) else [] if value is None else [value]


def watch(name, sio, namespace):
    def on(event, handler):
        sio.on(event, handler, namespace=namespace)

    def message(event, *args):
        write(client=name, event="message", name=event, args=args)
        return args

    on("connect", lambda: write(client=name, event="connect", sid=sio.get_sid(namespace), transport=sio.transport()))
    on("connect_error", lambda data="": write(client=name, event="connect_error", data=data))
    on("disconnect", lambda: write(client=name, event="disconnect"))
    on("*", message)


def op_open(client, url, namespace="/", options=None):
    options = options or {}
    sio = socketio.Client(reconnection_delay=0.05, randomization_factor=0)
    clients[client] = (sio, namespace)
    watch(client, sio, namespace)
    sio.connect(url, auth=options.get("auth"), transports=options.get("transports"), namespaces=[namespace], wait=False)


def op_drop(client):
    sio, _ = clients.pop(client)
    sio.disconnect()


def op_disconnect(client):
    clients[client][0].disconnect()


def op_emit(client, name, args=()):
    sio, namespace = clients[client]
    sio.emit(name, arguments(args), namespace=namespace)


def op_call(client, name, args=()):
    sio, namespace = clients[client]
    return answered(sio.call(name, arguments(args), namespace=namespace, timeout=30))


def op_stream(client, name, to, **start):
    sio, namespace = clients[client]
    for n in range(start["from"], to):
        sio.emit(name, n, namespace=namespace)


def op_transport(client):
    return clients[client][0].transport()


def run(command):
    number, name = command.pop("id"), command.pop("op")
    write(reply=number, value=globals()["op_" + name](**command))


for text in sys.stdin:
    threading.Thread(target=run, args=(json.loads(text),), daemon=True).start()
sys.stdout.flush()
os._exit(0)  # whatever the clients' threads are about
