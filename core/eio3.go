package core

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/upshift-go/upshift/codec"
)

// Clients of Socket.IO 2 differ in these ways (Socket.IO protocol, revision 4;
// socket.io-parser 3): they are connected to the main namespace without asking,
// their socket ids are made of the session id, the payload of a CONNECT is a
// query behind the namespace's name, and that of a CONNECT_ERROR need not be an
// object.

// joinMain connects the client to the main namespace.
func (c *connection) joinMain() {
	if err := c.join(&codec.Received{Type: codec.Connect, Namespace: "/"}); err != nil {
		c.session.Close(&CloseError{Reason: ForcedServerClose, Err: err})
	}
}

// socketID makes the id of a socket.
func (c *connection) socketID(namespace string) string {
	switch {
	case !c.old:
		return newID()
	case namespace == "/":
		return c.session.ID()
	default:
		return namespace + "#" + c.session.ID()
	}
}

// splitNamespace takes the query off the name of a namespace. That of a CONNECT
// becomes its payload.
func splitNamespace(r *codec.Received) {
	name, query, ok := strings.Cut(r.Namespace, "?")
	r.Namespace = name
	if r.Type != codec.Connect || !ok {
		return
	}
	values, _ := url.ParseQuery(query) // what can be read of it
	auth := make(map[string]string, len(values))
	for key, all := range values {
		auth[key] = all[len(all)-1]
	}
	text, err := json.Marshal(auth)
	if err == nil { // strings always marshal
		err = r.Data.UnmarshalJSON(text)
	}
	if err != nil {
		r.Data = codec.Raw{}
	}
}

// refusal is the payload of a CONNECT_ERROR: for old clients the data alone, or
// the message if there is none. That there is no such namespace they are told
// as others are.
func (c *connection) refusal(e *Error) any {
	if !c.old || e == errInvalidNamespace {
		return refusal(e)
	}
	switch data := e.Data.(type) {
	case nil:
		return e.Message
	case string, map[string]any, map[string]string:
		return data
	}
	if text, err := json.Marshal(e.Data); err == nil && len(text) > 0 && text[0] == '{' {
		return e.Data
	}
	return e.Message
}
