package main

// A load is something to do to a server, and what it costs there.
type load struct {
	name    string
	unit    string // what cost is: "µs" of CPU per message, or "B" for each session
	quick   bool   // also in a quick run
	servers []string
	measure func(p plan, server *child) (sample, error)
}

// Who can do what: raw gws and the limit know no rooms, and centrifuge answers
// calls but has no events.
var (
	everybody = []string{"upshift", "gws", "limit", "node", "centrifuge"}
	noLimit   = []string{"upshift", "gws", "node", "centrifuge"}
	events    = []string{"upshift", "gws", "limit", "node"}
	rooms     = []string{"upshift", "node", "centrifuge"}
	polling   = []string{"upshift", "gws", "node"}
)

func loads() []load {
	echo := func(d dialect) func(string) string { return d.echo }
	ack := func(d dialect) func(string) string { return d.ack }
	const us, bytes = "µs", "B"
	return []load{
		{"echo, 1 in flight", us, true, events, exchange(100, 64, 1, echo)},
		{"echo, 16 in flight", us, true, events, exchange(100, 64, 16, echo)},
		{"ack, 1 in flight", us, true, everybody, exchange(100, 64, 1, ack)},
		{"ack, 16 in flight", us, true, everybody, exchange(100, 64, 16, ack)},
		{"echo of 4 KB, 1 in flight", us, true, events, exchange(100, 4096, 1, echo)},
		{"echo of 4 KB, 16 in flight", us, false, events, exchange(100, 4096, 16, echo)},
		{"echo, 1 in flight, 1,000 connections", us, false, events, exchange(1000, 64, 1, echo)},
		{"echo, 16 in flight, 1,000 connections", us, false, events, exchange(1000, 64, 16, echo)},
		{"echo of 4 KB, 1 in flight, 1,000 connections", us, false, events, exchange(1000, 4096, 1, echo)},
		{"ack of 4 KB, 1 in flight", us, false, everybody, exchange(100, 4096, 1, ack)},
		{"ack, 1 in flight, 1,000 connections", us, false, everybody, exchange(1000, 64, 1, ack)},
		{"ack, 16 in flight, 1,000 connections", us, false, everybody, exchange(1000, 64, 16, ack)},
		{"echo, 1 in flight, 10,000 connections", us, false, []string{"upshift", "gws"}, exchange(10_000, 64, 1, echo)},
		{"ack, 1 in flight, 4 connections", us, false, noLimit, exchange(4, 64, 1, ack)},
		{"broadcast to 1,000, 1 in flight", us, true, everybody, broadcast(1000, 0, 1)},
		{"broadcast to 1,000, 8 in flight", us, true, everybody, broadcast(1000, 0, 8)},
		{"broadcast to 10,000, 1 in flight", us, false, noLimit, broadcast(10_000, 0, 1)},
		{"broadcast to 10,000, 8 in flight", us, false, noLimit, broadcast(10_000, 0, 8)},
		{"broadcast to 950 of 1,000, 50 dead", us, true, []string{"upshift", "node"}, broadcast(1000, 50, 8)},
		{"publish to 1,000 rooms of 10", us, true, rooms, publish(1000)},
		{"echo with MessagePack, 16 in flight", us, false, []string{"upshift-msgpack", "gws"}, exchange(100, 64, 16, echo)},
		{"broadcast to 1,000 with recovery, 8 in flight", us, false, []string{"upshift-recovery", "gws"}, broadcast(1000, 0, 8)},
		{"polling round trip", us, true, polling, poll(100)},
		{"polling, upgrade, one echo", us, true, polling, upgrade(50)},
		{"connect on WebSocket", us, true, noLimit, openOnWebSocket(16)},
		{"idle, 10,000 WebSockets", bytes, true, noLimit, idle(10_000)},
		{"idle, 10,000 WebSockets, gws over net/http", bytes, true, []string{"upshift", "gws-http"}, idle(10_000)},
		{"idle, as many WebSockets as files allow", bytes, false, noLimit, idle(mostSessions())},
		{"idle, 5,000 parked polls", bytes, false, polling, idlePolls(5000)},
	}
}
