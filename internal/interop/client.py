"""Clients of python-socketio, driven as client.mjs drives the official ones: one JSON command per
line on stdin, one JSON report per line on stdout. A handler of this library answers with what it
returns, so an event that wants an answer gets its own arguments back."""

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


class Engine(engineio.Client):
    """Hands on what it receives in order. The library starts a thread for each message, and a thread
    that is late finds its event without the bytes that belong to it."""

    ping = None  # called for each ping of the server

    def _trigger_event(self, event, *args, run_async=False):
        return super()._trigger_event(event, *args, run_async=False)

    def _receive_packet(self, packet):
        if packet.packet_type == engineio.packet.PING:
            self.ping()
        super()._receive_packet(packet)


class Client(socketio.Client):
    """Waits for the answers to its namespaces for as long as it takes: the library ends a connection
    that comes back when they take a second."""

    def _engineio_client_class(self):
        return Engine

    def connect(self, *args, **options):
        return super().connect(*args, **{**options, "wait": False})


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


def watch(name, sio, namespace):
    def on(event, handler):
        sio.on(event, handler, namespace=namespace)

    def message(event, *args):
        write(client=name, event="message", name=event, args=args)
        return args

    def refused(error):
        error = error if isinstance(error, dict) else {"message": str(error)}
        write(client=name, event="connect_error", **error)

    on("connect", lambda: write(client=name, event="connect", sid=sio.get_sid(namespace), transport=sio.transport()))
    on("connect_error", refused)
    on("disconnect", lambda: write(client=name, event="disconnect"))
    on("*", message)


def op_open(client, url, namespace="/", options=None, others=None):
    """others are more clients, by name, with a namespace each, over the same connection and with the
    same auth: this library has no way to join a namespace later."""
    options = options or {}
    namespaces = {client: namespace, **(others or {})}
    sio = Client(reconnection_delay=0.05, randomization_factor=0)
    sio.eio.ping = lambda: write(client=client, event="ping")
    for name, namespace in namespaces.items():
        clients[name] = (sio, namespace)
        watch(name, sio, namespace)
    sio.connect(
        url,
        auth=options.get("auth"),
        transports=options.get("transports"),
        namespaces=list(namespaces.values()),
    )


def op_drop(client):
    sio, _ = clients.pop(client)
    sio.eio.disconnect(abort=True)  # its namespaces may be leaving just now


def op_disconnect(client):
    sio, _ = clients[client]
    sio.eio.queue.join()  # the end overtakes what is not sent yet
    sio.disconnect()


def op_emit(client, name, args=()):
    sio, namespace = clients[client]
    sio.emit(name, arguments(args), namespace=namespace)


def op_call(client, name, args=()):
    sio, namespace = clients[client]
    answer, done = [], threading.Event()

    def answered(*args):
        answer.extend(args)
        done.set()

    sio.emit(name, arguments(args), namespace=namespace, callback=answered)
    if not done.wait(30):
        raise TimeoutError(name)
    return answer


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
