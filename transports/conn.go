package transports

// A Conn carries the packets of one session over one transport.
//
// The session calls nothing on a Conn before the Conn's first Ready. After
// that it calls Send from one goroutine at a time and only while the Conn is
// ready; Close may be called at any time, from any goroutine, also while Send
// runs and from inside Sink methods.
type Conn interface {
	// Send hands over a batch: one system call, one poll response, one
	// stream write. The batch is never empty and its packets leave in order.
	// A packet of type Close ends the conversation: a transport whose
	// protocol has it on the wire (polling) sends it, the others skip it.
	//
	// Send must not wait for the peer. It reports ready if the Conn can
	// take another batch at once; the batch is the caller's again then. If
	// it reports false, the batch stays the Conn's until it calls
	// Sink.Ready: a transport that can only write by blocking gives the
	// batch to a goroutine, returns false, and calls Ready when the write is
	// done.
	//
	// Packet data is read-only. That of a packet with a Buffer goes with the
	// batch: it is overwritten when the batch is no longer the Conn's. Other
	// data may be shared with other Conns, and stays as it is for good.
	//
	// An error means that nothing of the batch was sent. ErrRetired makes
	// the session keep the batch for the transport it is moving to; any
	// other error ends the session with it as cause.
	Send(batch []Packet) (ready bool, err error)

	// Close ends the connection without waiting for the peer and without
	// blocking. What was passed to Send before is still written if the
	// connection can take it at once. The Conn calls Sink.Closed exactly
	// once in its life, be it because of Close or for reasons of its own;
	// Close may be called again and then does nothing.
	Close(cause error)
}

// A Retirer is a Conn that a session can move away from. The Conns of an
// upgradable transport implement it.
type Retirer interface {
	Conn

	// Retire is called when the client has committed to another transport.
	// It returns when every packet that arrived on this Conn has been
	// passed to Receive; from its call on, Send returns ErrRetired and
	// requests are refused. What waits for packets (a parked poll) is
	// released. A retired Conn needs no Close and its Closed is ignored.
	Retire()
}

// A RequestConn is a Conn whose client comes back with further HTTP requests,
// as polling does.
type RequestConn interface {
	Conn

	// ServeRequest answers one request. It is called from the goroutine of
	// that request, several at a time.
	ServeRequest(ex Exchange)
}

// A Sink is the session's side of a Conn. A Conn may call its methods from
// any goroutine but must not hold a lock that its own Send or Close takes:
// the session calls them from inside Ready and Receive.
type Sink interface {
	// Receive passes on one packet. Packets of one Conn are received one at
	// a time, in order. p.Data is read during the call only; the Conn may
	// reuse it afterwards. Receive blocks while the session is full: a
	// transport stops reading then, and that is the back-pressure. An error
	// means that the session takes nothing more from this Conn; it has been
	// or is being closed, and what is left of the input is dropped.
	Receive(p Packet) error

	// Ready says that the Conn can take a batch: once after it was attached,
	// which starts it and comes before the first Receive, and again each
	// time Send has returned false. Calls that say nothing new are harmless.
	Ready()

	// Closed says that the connection is over and why: a *CloseError, or any
	// error, which counts as TransportError; after Close it is the cause that
	// Close was given. Nothing is received after it, but for a Receive that
	// another goroutine was just entering when Close was called.
	Closed(cause error)
}
