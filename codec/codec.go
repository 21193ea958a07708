package codec

// A Frame is one message of the session below: text or binary.
type Frame struct {
	// Binary: Data is bytes. If false it is UTF-8 text.
	Binary bool
	// Data is the message, without the packet type of the layer below.
	Data []byte
}

// A Codec is a wire format of Socket.IO packets. Both ends of a connection
// must use the same one; nothing on the wire announces it.
//
// A Codec is stateless and safe for concurrent use.
type Codec interface {
	// Name is a short name for logs and metrics, such as "json". It never
	// changes.
	Name() string

	// Encode appends the frames of p to dst, in the order they must be sent
	// and with nothing in between, and returns the extended slice. On error
	// it returns dst as it was; nothing of the packet must be sent then.
	//
	// Encode calls p.Validate. It neither modifies nor keeps p or what p
	// refers to, and it does not keep the frames: they are the caller's, who
	// may send them to many connections, and use their memory again. Data that
	// stands in dst beyond its length, in frames that a caller is through with,
	// may be overwritten instead of making new.
	Encode(dst []Frame, p *Packet) ([]Frame, error)

	// NewDecoder returns the decoder of one connection.
	NewDecoder() Decoder
}

// A Decoder puts the packets of one connection together. It is used by one
// goroutine at a time and costs little while idle.
type Decoder interface {
	// Decode takes the next frame. ok is false while a packet waits for more
	// frames. f.Data is read during the call only; what is received is
	// memory of its own.
	//
	// An error, which is a *DecodeError, means that the peer broke the
	// protocol: the whole connection is to be closed. The decoder has been
	// reset then.
	Decode(f Frame) (r Received, ok bool, err error)

	// Reset drops a packet that is only half there. A client calls it on
	// every reconnection.
	Reset()
}
