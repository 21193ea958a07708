// Package auth lets clients in who can show who they are, and goes on from
// there: a client is told before its token expires, renews it by an event
// without reconnecting, is closed when it has not, and Revoke closes all sockets
// of a user at once, on all servers of a cluster.
//
//	tokens, err := jwt.New(jwt.Options{Algorithms: []string{"EdDSA"}, Key: public, Issuer: "https://id.example"})
//	guard, err := auth.New(srv, auth.Options{Verify: tokens.Verify})
//	srv.Use(guard.Middleware)
//
//	core.On(chat, "say", func(ctx context.Context, s *core.Socket, m Message) (core.None, error) {
//		id, _ := auth.From(s)
//		return core.None{}, Said.Emit(ctx, s.To(m.Room), Said{By: id.Subject, Text: m.Text})
//	})
//	admin := chat.Group(auth.AnyRole("admin"))
//
//	err = guard.Revoke(ctx, "ann")
//
// On the side of the official client, where getToken returns one that is valid
// for a while:
//
//	const socket = io({ auth: async (use) => use({ token: await getToken() }) });
//	socket.on("auth:expiring", async () => socket.emit("auth:renew", await getToken()));
//	socket.on("auth:closed", ({ reason }) => …);             // "expired", "revoked"
//	socket.on("connect_error", (err) => err.data?.code);     // "unauthorized", …
//
// # Namespaces
//
// Who is who is decided for each namespace that a client connects to, with the
// payload it sends there, and is renewed for each.
//
// # Recovery
//
// With core.Options.Recovery, set RunMiddleware, unless the adapter is a
// core.Recoverer: with one, middleware always runs. Otherwise a client that has
// lost its connection comes back without being asked for its token: it is closed
// when what it had has expired or was revoked, but may have got the events that
// it had missed. A client cannot come back as somebody else.
//
// # Cookie sessions
//
// Session runs the session middleware of a web site at the handshake, and
// Options.Identify makes an Identity of what it has found.
//
// # Order
//
// A renewal waits for its turn among the events of its socket: behind a handler
// that takes longer than Options.Lead it comes too late. Middleware that runs
// before the guard sees renewals as it sees events, and can limit their rate;
// what runs after it knows who the client is.
package auth
