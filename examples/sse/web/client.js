// A Socket.IO client for the main namespace, on an EventSource and fetch:
// events, answers, heartbeats, and it comes back by itself.
//
//   const socket = connect("/socket.io/", { connect() {…}, disconnect() {…}, written(text) {…} });
//   const answer = await socket.emit("write", "Hi");
export function connect(url, on) {
  const address = `${url}?EIO=4&transport=sse`;
  let session; // undefined while there is none
  let emitted = 0;

  function open() {
    const stream = new EventSource(address);
    const acks = new Map();
    let last = Promise.resolve(), sid, over = false;

    // One POST at a time, because they would not keep their order.
    function post(packet) {
      last = last.then(async () => {
        const { ok, status } = await fetch(`${address}&sid=${sid}`, { method: "POST", body: packet });
        if (!ok) throw new Error(`status ${status}`);
      });
      last.catch(lost);
    }

    function lost() {
      if (over) return;
      over = true;
      stream.close(); // which would come back to a session that is gone
      for (const { reject } of acks.values()) reject(new Error("disconnected"));
      if (session) on.disconnect?.();
      session = undefined;
      setTimeout(open, 500 + 1000 * Math.random());
    }

    function receive(packet) {
      const [, type, id, json] = /^(0|1|2|40|42|43|44)(\d*)(.*)$/s.exec(packet) ?? [];
      if (type === "0") { sid = JSON.parse(json).sid; post("40"); } // the session is open: join the namespace
      if (type === "2") post("3"); // ping, pong
      if (type === "40") { session = { post, acks }; on.connect?.(); }
      if (type === "42") { const [event, ...args] = JSON.parse(json); on[event]?.(...args); }
      if (type === "43") { acks.get(id)?.resolve(JSON.parse(json)[0]); acks.delete(id); }
      if (type === "1" || type === "44") lost(); // the server has closed, or refused
    }
    stream.onmessage = ({ data }) => receive(JSON.parse(data));
    stream.onerror = lost;
  }
  open();

  return {
    emit: (event, ...args) => new Promise((resolve, reject) => {
      if (!session) return reject(new Error("not connected"));
      const id = String(emitted++);
      session.acks.set(id, { resolve, reject });
      session.post(`42${id}${JSON.stringify([event, ...args])}`);
    }),
  };
}
