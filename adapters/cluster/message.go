package cluster

import (
	"time"

	"github.com/upshift-go/upshift/core"
)

// A Type says what a message is for. The numbers are those of the ClusterAdapter
// of socket.io-adapter 2.5; engines that speak an older wire translate them.
type Type uint8

// The types of messages.
const (
	InitialHeartbeat Type = 1 + iota // who joins, and wants to know who is there
	Heartbeat
	Broadcast // with a RequestID: to be answered by clients
	SocketsJoin
	SocketsLeave
	DisconnectSockets
	FetchSockets
	FetchSocketsResponse
	ServerSideEmit // with a RequestID: to be answered by servers
	ServerSideEmitResponse
	BroadcastClientCount // how many clients the sender has asked, for a Broadcast
	BroadcastAck         // the answer of one of them
	Close                // who leaves
)

// EmitterID is the sender of messages of programs that serve no sockets.
const EmitterID = "emitter"

// A Message is what one server of a cluster tells others. Which fields count
// depends on its type.
type Message struct {
	Type      Type
	Sender    string // id of the server, or EmitterID
	Namespace string
	// RequestID is that of a request that wants answers, and of the answers.
	RequestID string
	// To is the server that an answer is for. It is empty in anything else: that
	// is for all servers that have the namespace.
	To string

	// Sockets that a Broadcast, SocketsJoin, SocketsLeave, DisconnectSockets or
	// FetchSockets is about: those in one of In, or all if that is empty, but
	// not those in one of Except.
	In, Except []string
	// Flags of a Broadcast.
	Flags Flags

	// Event is the name of what a Broadcast or ServerSideEmit sends.
	Event string
	// Args are its arguments: anything that codecs take on the way out, and
	// values of type codec.Raw on the way in.
	Args []any

	Rooms        []string // of SocketsJoin and SocketsLeave
	CloseSession bool     // of DisconnectSockets: with the whole session

	Sockets []core.SocketInfo // of FetchSocketsResponse
	Count   int               // of BroadcastClientCount
	Answer  any               // of ServerSideEmitResponse and BroadcastAck; see Args

	// Offset and Nonce are for a Log: where a kept Broadcast stands, and what tells
	// it from others of its sender.
	Offset core.Offset
	Nonce  string

	// Form is for engines that know several forms of a request: that of the
	// answer is the same.
	Form int
}

// Flags are how a Broadcast is to be delivered.
type Flags struct {
	Volatile, NoCompress bool
	// Timeout is how long clients may take to answer. 0 is not said.
	Timeout time.Duration
	// Single: one answer is expected, since the broadcast is for one socket.
	Single bool
	// Overflow and Key are those of core.Broadcast; only servers of this
	// package know them.
	Overflow core.Overflow
	Key      string
}

// isAnswer reports whether messages of the type answer a request.
func (t Type) isAnswer() bool {
	switch t {
	case FetchSocketsResponse, ServerSideEmitResponse, BroadcastClientCount, BroadcastAck:
		return true
	default:
		return false
	}
}
