package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// People on all servers, by all transports, are in one chat.
func TestCluster(t *testing.T) {
	for _, nats := range []bool{false, true} {
		t.Run(fmt.Sprintf("nats %v", nats), func(t *testing.T) {
			_, noRedis := exec.LookPath("redis-server")
			_, noNode := exec.LookPath("node")
			if !nats && (noRedis != nil || noNode != nil || nodeDir() == "") {
				if os.Getenv("CI") != "" {
					t.Fatal("redis-server, node or its packages are missing: ", noRedis, noNode)
				}
				t.Skip("redis-server, node or its packages are missing")
			}
			ctx, stop := context.WithCancel(t.Context())
			out, in := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- run(ctx, flags{addr: "127.0.0.1:0", secret: "a secret of this test", nats: nats}, in)
			}()
			t.Cleanup(func() {
				stop()
				go func() { _, _ = io.Copy(io.Discard, out) }()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				_ = in.Close()
			})
			addresses := 2
			if nats {
				addresses = 1
			}
			text, urls := "", []string(nil)
			for buf := make([]byte, 1000); len(urls) < addresses; {
				n, err := out.Read(buf)
				if err != nil {
					t.Fatal(err, text)
				}
				text += string(buf[:n])
				urls = regexp.MustCompile(`http://\S+/`).FindAllString(text, -1)
			}

			var people []*person
			for i, way := range [][]string{{"polling"}, {"websocket"}, {"polling", "websocket"}, {"polling"}} {
				people = append(people, dial(t, urls[0], fmt.Sprint("p", i), way))
			}
			if len(urls) > 1 {
				people = append(people, dial(t, urls[1], "p4", nil))
			}
			want := make([]string, len(people))
			for i := range people {
				want[i] = fmt.Sprint("p", i)
			}
			for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) { // until all servers know each other
				var names []string
				err := people[0].Call(t.Context(), "who", nil, &names)
				slices.Sort(names)
				if slices.Equal(names, want) {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%v are there, %v", names, err)
				}
			}
			for end := time.Now().Add(patience); people[2].Transport() != client.WebSocket; <-time.After(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("who begins with polling does not get to WebSocket")
				}
			}
			for i, p := range people {
				if err := p.Call(t.Context(), "say", []any{fmt.Sprint("hello ", i)}); err != nil {
					t.Fatal(err)
				}
				for _, other := range people {
					select {
					case m := <-other.messages:
						if m.Text != fmt.Sprint("hello ", i) || m.From != fmt.Sprint("p", i) || m.Server == "" {
							t.Errorf("%+v", m)
						}
					case <-time.After(patience):
						t.Fatalf("%s does not hear %d", other.name, i)
					}
				}
			}
		})
	}
}

type person struct {
	*client.Socket
	name     string
	messages chan Message
}

func dial(t *testing.T, url, name string, transports []string) *person {
	t.Helper()
	p := &person{name: name, messages: make(chan Message, 100)}
	var err error
	p.Socket, err = client.New(strings.TrimSuffix(url, "/"), client.Options{
		Transports: transports, Socket: client.SocketOptions{Auth: map[string]any{"name": name}},
		Header: http.Header{"Origin": {strings.TrimSuffix(url, "/")}}, // as the page has it
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.Listen("message", func(_ context.Context, args event.Arguments) ([]any, error) {
		var m Message
		err := args.Bind(&m)
		p.messages <- m
		return nil, err
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err = p.Connect(ctx); err != nil { // it tries again by itself
		t.Fatal(err)
	}
	return p
}
