package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// What the examples use instead of a browser: a server on an in-memory
// transport, and clients of it that speak the wire. Programs test their own
// handlers with package upshifttest.

// A demo is a server that visitors can connect to.
type demo struct {
	*core.Server
	pipe *pipe.Transport
}

// newDemo is core.New, with a transport in memory.
func newDemo(o core.Options) *demo {
	d := &demo{pipe: pipe.New()}
	o.Transports = []transports.Transport{d.pipe}
	d.Server = must(core.New(o))
	return d
}

// close ends the server and waits for its handlers.
func (d *demo) close() { check(d.Shutdown(context.Background())) }

// A visitor is a client in one namespace, which does what the official clients
// do.
type visitor struct {
	demo      *demo
	pipe      *pipe.Client
	prefix    string // of its messages: "" or "/chat,"
	sid       string // the socket's id
	pid       string // what it comes back with, if recovery is on
	offset    string // of the last event it has seen
	refused   string // the connect_error, if it was refused
	recovered bool
	asked     int    // how many answers it has asked for
	owed      string // the id of the last event that is to be answered
}

// visit connects to a namespace with an auth payload, which may be nil.
func (d *demo) visit(namespace string, auth any) *visitor {
	v := &visitor{demo: d}
	if namespace != "/" {
		v.prefix = namespace + ","
	}
	v.connect(auth)
	return v
}

func (v *visitor) connect(auth any) {
	v.pipe = must(v.demo.pipe.Dial(v.demo, transports.Handshake{}))
	v.receive() // the open packet
	request := "0" + v.prefix
	if auth != nil {
		request += string(must(json.Marshal(auth)))
	}
	v.write(request)
}

// accepted waits for the answer to the wish to connect, and returns what came
// before it: what a client that comes back has missed.
func (v *visitor) accepted() (missed []string) {
	for {
		kind, id, payload := v.read()
		switch kind {
		case '0':
			var reply struct{ SID, PID string }
			check(json.Unmarshal(payload, &reply))
			v.recovered = v.pid != "" && v.pid == reply.PID
			v.sid, v.pid = reply.SID, reply.PID
			return missed
		case '4':
			v.refused = string(payload)
			return missed
		default:
			missed = append(missed, v.event(id, payload))
		}
	}
}

// join is visit, and waits until the client is connected.
func (d *demo) join(namespace string, auth any) *visitor {
	v := d.visit(namespace, auth)
	v.accepted()
	for s := range d.AllSessions() { // what the client has been sent is off the server's hands soon
		for packets := 1; packets > 0; packets, _ = s.Waiting() {
			runtime.Gosched()
		}
	}
	return v
}

// emit sends an event.
func (v *visitor) emit(event string, args ...any) { v.write("2" + v.prefix + list(event, args)) }

// ask sends an event and returns the client's view of the answer.
func (v *visitor) ask(event string, args ...any) string {
	v.write(fmt.Sprint("2", v.prefix, v.asked, list(event, args)))
	v.asked++
	_, _, payload := v.read()
	return strings.TrimSuffix(strings.TrimPrefix(string(payload), "["), "]")
}

// next waits for the next event and returns its name and arguments.
func (v *visitor) next() string {
	_, id, payload := v.read()
	return v.event(id, payload)
}

func (v *visitor) event(id string, payload []byte) string {
	v.owed = id
	var args []json.RawMessage
	check(json.Unmarshal(payload, &args))
	if v.pid != "" { // the offset, which JavaScript handlers see as a surplus argument
		check(json.Unmarshal(args[len(args)-1], &v.offset))
		args = args[:len(args)-1]
	}
	var text strings.Builder
	text.WriteString(strings.Trim(string(args[0]), `"`))
	for _, arg := range args[1:] {
		text.WriteByte(' ')
		text.Write(arg)
	}
	return text.String()
}

// answer answers the last event that next has returned.
func (v *visitor) answer(arg any) {
	v.write("3" + v.prefix + v.owed + "[" + string(must(json.Marshal(arg))) + "]")
}

// leave closes the connection.
func (v *visitor) leave() { check(v.pipe.Close()) }

// comeBack connects again after the connection was lost, and returns the events
// that it has missed.
func (v *visitor) comeBack() []string {
	v.connect(map[string]string{"pid": v.pid, "offset": v.offset})
	return v.accepted()
}

func (v *visitor) write(message string) {
	check(v.pipe.Send(transports.Packet{Type: transports.Message, Data: []byte(message)}))
}

// read takes a message apart: its type, its id if it has one, and the rest.
func (v *visitor) read() (kind byte, id string, payload []byte) {
	text := string(v.receive().Data)
	kind = text[0]
	text = strings.TrimPrefix(text[1:], v.prefix)
	rest := strings.TrimLeft(text, "0123456789")
	return kind, strings.TrimSuffix(text, rest), []byte(rest)
}

func (v *visitor) receive() transports.Packet { return must(v.pipe.Receive(context.Background())) }

// list is an event as it stands on the wire.
func list(event string, args []any) string {
	return string(must(json.Marshal(append([]any{event}, args...))))
}

// get is what a plain HTTP client gets: the status and the body.
func get(url string, fields ...string) (status int, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r := must(http.NewRequest(http.MethodGet, url, http.NoBody))
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	response, err := client.Do(r)
	check(err)
	defer func() { check(response.Body.Close()) }()
	return response.StatusCode, string(must(io.ReadAll(response.Body)))
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// check panics: an example has no other way to fail.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
