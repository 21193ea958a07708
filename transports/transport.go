// Package transports is the contract between a transport and the session
// manager above it. It depends on the standard library alone, so that a
// transport can be written, and tested with package transporttest, by
// importing nothing else of Upshift.
//
// A transport turns HTTP requests, or connections of its own, into Conns. A
// Conn carries the packets of one session; the session hands it batches to
// send and is told of everything that arrives through a Sink:
//
//	request or connection ─► Transport ─► Conn ─ Receive, Ready, Closed ─► Sink (session)
//	                                      Conn ◄────── Send, Close ─────── session
//
// The Sink exists before the first byte is read, so a packet that a client
// sends in the same instant as it connects has somewhere to go.
package transports

// Features says what a transport can do.
type Features struct {
	// Upgradable: a session that opened on this transport may move to
	// another one. The Conns of such a transport implement Retirer.
	Upgradable bool

	// UpgradeTarget: a session may move to this transport. The server
	// advertises it to sessions that open on an upgradable one.
	UpgradeTarget bool

	// HTTPUpgrade: the transport is opened by an HTTP Upgrade request, as
	// WebSocket is. Other requests for it are refused, and Upgrade requests
	// for transports without it.
	HTTPUpgrade bool

	// Revision3: the transport can also speak revision 3 of Engine.IO, which
	// clients of Socket.IO 2 do. Its conns heed Admission.Revision.
	Revision3 bool
}

// The revisions of the Engine.IO protocol.
const (
	Revision3 = 3
	Revision4 = 4
)

// A Transport is a way to carry packets. It is shared by all sessions and
// must be safe for concurrent use.
//
// A transport that is carried by HTTP implements HTTPTransport. One that has
// connections of its own (raw TCP, QUIC, an in-memory pipe) passes each of
// them to Host.Open.
type Transport interface {
	// Name is the value of the "transport" query parameter, as in "polling"
	// or "websocket". It never changes.
	Name() string

	// Features never changes.
	Features() Features
}

// An HTTPTransport opens Conns from HTTP requests.
type HTTPTransport interface {
	Transport

	// Accept answers the first request of a connection: one that opens a
	// session, or one that offers this transport as an upgrade to a session
	// that exists. The session manager has validated the query by then; what
	// is left is what only the transport knows, such as the header fields of
	// a WebSocket handshake. A request that fails this is answered by the
	// transport with adm.Refuse, and nothing is attached.
	//
	// Accept runs on the goroutine of the request and may block it for as
	// long as the request takes. The Exchange must not be used after Accept
	// returns, except inside a function passed to its Hijack.
	Accept(ex Exchange, adm Admission)
}

// Admission is what the session manager passes to a transport with a request
// it has let in.
type Admission struct {
	// Revision is the revision of the protocol that the client speaks. It is
	// Revision4 unless the transport has Features.Revision3.
	Revision int

	// MaxPayload is the largest message, in bytes, that the session takes:
	// the whole body of a POST, or one message of a framed transport. It
	// counts the type digit. A transport refuses more with
	// ErrPayloadTooLarge and must not buffer more.
	MaxPayload int64

	// Attach gives the Conn to its session and returns the session's Sink.
	// It is called once, when nothing can fail any more, and before anything
	// is read from the client. The session calls nothing on the Conn until
	// the Conn calls Ready for the first time, which it does as soon as it
	// has stored the Sink and can take a batch. On error (the session is
	// gone, or the server is shutting down) the transport ends the
	// connection by itself.
	Attach func(conn Conn) (Sink, error)

	// Refuse answers the request with an Engine.IO error and ends it. It is
	// for requests that the transport finds wrong before attaching.
	Refuse func(ex Exchange, detail string)
}

// A Host takes sessions from transports that have connections of their own.
// core.Server is one.
type Host interface {
	// Open starts a session on conn, or, if h.SessionID is set, offers conn
	// as an upgrade to that session. The transport must be among those the
	// server was configured with. On error conn is not attached and the
	// transport closes its connection. The same rules as for
	// Admission.Attach apply.
	Open(t Transport, h Handshake, conn Conn) (Sink, error)

	// MaxPayload is the largest message, in bytes, that a session takes.
	MaxPayload() int64
}
