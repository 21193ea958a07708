package interop

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A node is a process, mostly of Node.js, that runs clients for a test. Its
// methods and those of its clients fail the test if the process has ended.
type node struct {
	stdin   io.WriteCloser
	process *os.Process
	ended   chan struct{}
	log     bytes.Buffer // stderr; read once ended is closed

	mu      sync.Mutex         // guards what follows
	clients map[string]*client // by key
	made    int                // clients
	replies map[int]chan any   // by the number of the command
	asked   int                // commands
}

// A client is an official client in a node. What happens to it goes to its
// journal.
type client struct {
	*journal[report]
	node *node
	name string
	key  string // its name in the node
}

// A report is a line that client.mjs writes.
type report struct {
	Reply int `json:"reply,omitempty"` // to the command with this number
	Value any `json:"value,omitempty"` // of the reply

	Client    string `json:"client,omitempty"`
	Event     string `json:"event,omitempty"`
	SID       string `json:"sid,omitempty"`       // connect, sent
	Recovered bool   `json:"recovered,omitempty"` // connect
	Transport string `json:"transport,omitempty"` // connect, upgrade
	Reason    string `json:"reason,omitempty"`    // disconnect
	Message   string `json:"message,omitempty"`   // connect_error, disconnect, upgradeError
	Data      any    `json:"data,omitempty"`      // connect_error
	Name      string `json:"name,omitempty"`      // message
	Args      []any  `json:"args,omitempty"`      // message
	Ack       int    `json:"ack,omitempty"`       // message that wants an answer
	N         int    `json:"n,omitempty"`         // sent, acked
}

// startNode starts a process without clients. It ends with the test.
func startNode(t *testing.T) *node {
	t.Helper()
	need(t, "node")
	if _, err := os.Stat("node_modules/socket.io-client"); err != nil {
		missing(t, "the official clients (npm ci in internal/interop)")
	}
	return startDriver(t, exec.Command("node", "client.mjs"))
}

// startDriver starts a process that takes the commands of client.mjs.
func startDriver(t *testing.T, cmd *exec.Cmd) *node {
	t.Helper()
	n := &node{
		ended:   make(chan struct{}),
		clients: make(map[string]*client),
		replies: make(map[int]chan any),
	}
	cmd.Stderr = &n.log
	var err error
	if n.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.process = cmd.Process
	go func() {
		defer close(n.ended)
		n.read(stdout)
		_ = cmd.Wait() // how it ended shows in the test
	}()
	t.Cleanup(func() {
		_ = n.stdin.Close() // the process ends by itself then
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		<-n.ended
		kill.Stop()
		if t.Failed() && n.log.Len() > 0 {
			t.Logf("%s: %s", cmd, n.log.Bytes())
		}
	})
	return n
}

// pause stops the process, with all of its clients, until resume.
func (n *node) pause(t *testing.T) {
	t.Helper()
	if err := n.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.resume(t) })
}

func (n *node) resume(t *testing.T) {
	t.Helper()
	if err := n.process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

func (n *node) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			return // cannot be; the test ends because node seems to have
		}
		r.Value, r.Data = unpack(r.Value), unpack(r.Data)
		for i := range r.Args {
			r.Args[i] = unpack(r.Args[i])
		}
		n.mu.Lock()
		switch {
		case r.Reply != 0:
			n.replies[r.Reply] <- r.Value
			delete(n.replies, r.Reply)
		case r.Client != "":
			if c := n.clients[r.Client]; c != nil { // else it was dropped
				c.add(r)
			}
		}
		n.mu.Unlock()
	}
}

// do sends a command and returns a channel with the reply.
func (n *node) do(t *testing.T, command map[string]any) <-chan any {
	t.Helper()
	reply := make(chan any, 1)
	n.mu.Lock()
	n.asked++
	id := n.asked
	n.replies[id] = reply
	n.mu.Unlock()

	command = maps.Clone(command)
	command["id"] = id
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("node does not listen: %v", err)
	}
	return reply
}

// wait waits for the reply to a command.
func (n *node) wait(t *testing.T, reply <-chan any) any {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case value := <-reply:
		return value
	case <-n.ended:
		t.Fatalf("node has ended: %s", n.log.Bytes())
	case <-timeout.C:
		t.Fatal("no reply from node")
	}
	return nil
}

// open makes a client and lets it connect; it is dropped when the test ends.
// options are those of the official client; more are arguments of the open
// command. The connection of another client is used if more has it as "shares".
func (n *node) open(t *testing.T, name, url string, options, more map[string]any) *client {
	t.Helper()
	c := n.client(name)
	command := map[string]any{"url": url}
	if options != nil {
		command["options"] = options
	}
	maps.Copy(command, more)
	if other, ok := command["shares"].(*client); ok {
		command["shares"] = other.key
	}
	c.do(t, "open", command)
	t.Cleanup(func() {
		n.mu.Lock()
		delete(n.clients, c.key)
		n.mu.Unlock()
		c.do(t, "drop", nil)
	})
	return c
}

// client makes a client that takes the reports under its key.
func (n *node) client(name string) *client {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	c := &client{journal: newJournal[report](), node: n, name: name, key: name + strconv.Itoa(n.made)}
	n.clients[c.key] = c
	return c
}

// start sends a command for this client and does not wait for the reply.
func (c *client) start(t *testing.T, op string, command map[string]any) <-chan any {
	t.Helper()
	command = maps.Clone(command)
	if command == nil {
		command = make(map[string]any)
	}
	command["op"], command["client"] = op, c.key
	return c.node.do(t, command)
}

func (c *client) do(t *testing.T, op string, command map[string]any) any {
	t.Helper()
	return c.node.wait(t, c.start(t, op, command))
}

func (c *client) emit(t *testing.T, name string, args ...any) {
	t.Helper()
	c.do(t, "emit", map[string]any{"name": name, "args": packAll(args)})
}

// call emits an event and returns the arguments of its ack.
func (c *client) call(t *testing.T, name string, args ...any) []any {
	t.Helper()
	answer, _ := c.do(t, "call", map[string]any{"name": name, "args": packAll(args)}).([]any)
	return answer
}

// event waits for something to happen to the client, as in "connect".
func (c *client) event(t *testing.T, kind string) report {
	t.Helper()
	return c.await(t, kind+" of client "+c.name, func(r report) bool { return r.Event == kind })
}

// message waits for an event from the server.
func (c *client) message(t *testing.T, name string) report {
	t.Helper()
	return c.messages(t, name, 1)[0]
}

func (c *client) messages(t *testing.T, name string, n int) []report {
	t.Helper()
	return c.awaitN(t, n, "event "+name+" at client "+c.name, isMessage(name))
}

func isMessage(name string) func(report) bool {
	return func(r report) bool { return r.Event == "message" && r.Name == name }
}

// transport is the name of the transport that the client uses now.
func (c *client) transport(t *testing.T) string {
	t.Helper()
	name, _ := c.do(t, "transport", nil).(string)
	return name
}

// undefined is JavaScript's.
type undefined struct{}

// An arrayBuffer goes to the client as one, and comes back as bytes.
type arrayBuffer []byte

// packAll and unpack carry through JSON what it has no word for, see client.mjs.
func packAll(args []any) []any {
	args = append([]any{}, args...) // never nil, which is no list in JSON
	for i := range args {
		args[i] = pack(args[i])
	}
	return args
}

func pack(value any) any {
	switch value := value.(type) {
	case []byte:
		return map[string]any{"$binary": base64.StdEncoding.EncodeToString(value)}
	case arrayBuffer:
		return map[string]any{"$arrayBuffer": base64.StdEncoding.EncodeToString(value)}
	case time.Time:
		return map[string]any{"$date": value.UnixMilli()}
	case undefined:
		return map[string]any{"$undefined": true}
	case []any:
		return packAll(value)
	case map[string]any:
		value = maps.Clone(value)
		for key := range value {
			value[key] = pack(value[key])
		}
		return value
	}
	return value
}

func unpack(value any) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = unpack(value[i])
		}
	case map[string]any:
		if text, ok := value["$binary"].(string); ok {
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return err
			}
			return data
		}
		if ms, ok := value["$date"].(float64); ok {
			return time.UnixMilli(int64(ms)).UTC()
		}
		if value["$undefined"] == true {
			return undefined{}
		}
		for key := range value {
			value[key] = unpack(value[key])
		}
	}
	return value
}
