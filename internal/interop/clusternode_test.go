package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A clusterNode is a process with clusternode.mjs: an official server with an
// official adapter.
type clusterNode struct {
	*journal[clusterReport]
	tb    testing.TB
	url   string
	stdin io.WriteCloser
	cmd   *exec.Cmd

	mu      sync.Mutex // guards what follows
	asked   int
	replies map[int]chan clusterReport
}

// A clusterReport is a line that clusternode.mjs writes.
type clusterReport struct {
	Kind      string          `json:"kind"`
	Port      int             `json:"port"`
	ID        int             `json:"id"`
	Value     json.RawMessage `json:"value"`
	Error     string          `json:"error"`
	Namespace string          `json:"namespace"`
	Socket    string          `json:"socket"`
	Reason    string          `json:"reason"`
	Recovered bool            `json:"recovered"`
	Args      []any           `json:"args"`
}

// A command is a line that clusternode.mjs reads.
type command map[string]any

// startClusterNode starts an official server. flavour is the adapter.
func startClusterNode(t *testing.T, redis, flavour, key string, options, adapterOptions map[string]any) *clusterNode {
	t.Helper()
	need(t, "node")
	argument, err := json.Marshal(map[string]any{
		"redis": "redis://" + redis, "adapter": flavour, "key": key, "options": options, "adapterOptions": adapterOptions,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &clusterNode{
		journal: newJournal[clusterReport](), tb: t, cmd: exec.Command("node", "clusternode.mjs", string(argument)),
		replies: make(map[int]chan clusterReport),
	}
	var log bytes.Buffer
	n.cmd.Stderr = &log
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.read(stdout)
		_ = n.cmd.Wait() // how it ended shows in the test
	}()
	t.Cleanup(func() {
		_ = n.stdin.Close() // the process ends by itself then
		kill := time.AfterFunc(patience, func() { _ = n.cmd.Process.Kill() })
		<-ended
		kill.Stop()
		if t.Failed() && log.Len() > 0 {
			t.Logf("clusternode.mjs: %s", log.Bytes())
		}
	})
	listening := n.await(t, "listening", func(r clusterReport) bool { return r.Kind == "listening" })
	n.url = fmt.Sprint("http://127.0.0.1:", listening.Port)
	return n
}

func (n *clusterNode) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 10<<20)
	for lines.Scan() {
		var r clusterReport
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			n.tb.Errorf("clusternode.mjs: %q: %v", lines.Text(), err)
			continue
		}
		if r.Kind != "reply" {
			n.add(r)
			continue
		}
		n.mu.Lock()
		reply := n.replies[r.ID]
		delete(n.replies, r.ID)
		n.mu.Unlock()
		reply <- r
	}
}

// do has the server do something and decodes the result into dst, unless that is
// nil. It returns the error that the server has answered.
func (n *clusterNode) do(t *testing.T, op string, c command, dst any) error {
	t.Helper()
	if c == nil {
		c = command{}
	}
	reply := make(chan clusterReport, 1)
	n.mu.Lock()
	n.asked++
	c["id"], c["op"] = n.asked, op
	n.replies[n.asked] = reply
	line, err := json.Marshal(c)
	if err == nil {
		_, err = n.stdin.Write(append(line, '\n'))
	}
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-reply:
		if r.Error != "" {
			return fmt.Errorf("clusternode.mjs: %s", r.Error)
		}
		if dst != nil {
			if err := json.Unmarshal(r.Value, dst); err != nil {
				t.Fatalf("%s: %s: %v", op, r.Value, err)
			}
		}
		return nil
	case <-time.After(patience):
		t.Fatalf("%s: no reply", op)
		return nil
	}
}

// must is do that may not fail.
func (n *clusterNode) must(t *testing.T, op string, c command, dst any) {
	t.Helper()
	if err := n.do(t, op, c, dst); err != nil {
		t.Fatal(err)
	}
}
