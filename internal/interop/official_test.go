package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// An official server is a process with server.mjs. What it reports goes to its
// journal.
type official struct {
	*journal[observed]
	port  int
	stdin io.WriteCloser
	kill  func() // ends the process without a word, and waits for it
}

// observed is a line that server.mjs writes.
type observed struct {
	Kind      string         `json:"kind"`
	Port      int            `json:"port"`
	Namespace string         `json:"namespace"`
	ID        string         `json:"id"`
	Reason    string         `json:"reason"`
	Recovered bool           `json:"recovered"`
	Auth      map[string]any `json:"auth"`
	Query     string         `json:"query"`
	Header    string         `json:"header"`
	Cookie    string         `json:"cookie"`
	Transport string         `json:"transport"`
	N         int            `json:"n"`
}

// startOfficial starts a server. options are those of socket.io. It ends with the
// test.
func startOfficial(t *testing.T, codec string, options map[string]any) *official {
	t.Helper()
	need(t, "node")
	if _, err := os.Stat("node_modules/socket.io"); err != nil {
		missing(t, "the official server (npm ci in internal/interop)")
	}
	argument, err := json.Marshal(map[string]any{"codec": codec, "options": options})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "server.mjs", string(argument))
	var log bytes.Buffer
	cmd.Stderr = &log
	o := &official{journal: newJournal[observed]()}
	if o.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var seen observed
			if err := json.Unmarshal(lines.Bytes(), &seen); err != nil {
				t.Errorf("server.mjs: %q: %v", lines.Text(), err)
				continue
			}
			o.add(seen)
		}
		_ = cmd.Wait() // how it ended shows in the test
	})
	o.kill = func() {
		_ = cmd.Process.Kill() // it may have ended
		ended.Wait()
	}
	t.Cleanup(func() {
		_ = o.stdin.Close() // the process ends by itself then
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		ended.Wait()
		timer.Stop()
		if log.Len() > 0 {
			t.Logf("server.mjs: %s", log.Bytes())
		}
	})
	o.port = o.saw(t, "listening").Port
	return o
}

func (o *official) addr() string { return fmt.Sprintf("127.0.0.1:%d", o.port) }

func (o *official) url() string { return "http://" + o.addr() }

// saw waits for the next report of a kind.
func (o *official) saw(t *testing.T, kind string) observed {
	t.Helper()
	return o.await(t, kind, func(seen observed) bool { return seen.Kind == kind })
}

// news has the server emit news to everybody in the main namespace.
func (o *official) news(t *testing.T, args ...any) {
	t.Helper()
	o.say(t, map[string]any{"namespace": "/", "event": "news", "args": args})
}

func (o *official) say(t *testing.T, command map[string]any) {
	t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	o.saw(t, "emitted")
}
