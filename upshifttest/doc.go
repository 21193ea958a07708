// Package upshifttest tests programs that are written with Upshift: a server
// without a port, clients that behave like the official ones, and a network
// between them that fails when the test says so.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
//		register(srv) // what the program does with its server, too
//
//		ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Auth: token})
//		id, err := Send.Call(t.Context(), ann, Message{Room: "r", Text: "hi"})
//
//		ann.Cut() // the network fails
//		ann.Reconnect()
//		ann.Recovered()           // true
//		m := upshifttest.Receive(ann, Posted) // what was sent meanwhile
//	})
//
// Everything works with and without testing/synctest. In a bubble time is not
// real: a heartbeat that fails after 45 seconds fails at once, and
// synctest.Wait returns when everything that was sent has been handled.
//
// A [Client] is an event.Emitter and an event.Caller, so descriptors of events
// work on it: Send.Emit(ctx, client, m). What arrives waits in it, in order,
// until the test takes it with [Receive], Client.Expect or Client.Next. A client
// answers heartbeats, and comes back when the test tells it to.
//
// The network is in memory and carries what a WebSocket connection would carry.
// It neither reorders nor duplicates. Its faults are methods of the client:
// Cut, CutAfterReceived, CutAfterSent, Vanish, Stall and Delay.
//
// What a test waits for in vain makes it fail after Options.Patience.
package upshifttest
