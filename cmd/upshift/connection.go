package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
)

// The exit statuses besides 0 and 1, which is for what is wrong with the command line
// and all else.
const (
	exitNoConnection = 2
	exitRefused      = 3 // by the server
	exitNoAnswer     = 4 // in time
)

// A connection is what the flags say about how to connect.
type connection struct {
	path       string
	auth       string
	headers    []string
	transports []string
	codec      string
	timeout    time.Duration
	insecure   bool
	reconnect  bool                                   // set by commands that go on when a connection is lost
	authFunc   func(ctx context.Context) (any, error) // set by commands that know better than auth
}

// flags adds those that all commands have.
func (c *connection) flags(f *pflag.FlagSet) {
	f.StringVar(&c.path, "path", "/socket.io/", "where the server is mounted")
	f.StringVar(&c.auth, "auth", "", "auth `JSON` object for the namespace")
	f.StringArrayVarP(&c.headers, "header", "H", nil, "further `header`, as in \"Authorization: Bearer …\"; can be repeated")
	f.DurationVar(&c.timeout, "timeout", 20*time.Second, "how long connecting may take")
	f.BoolVarP(&c.insecure, "insecure", "k", false, "accept any certificate")
}

// clientFlags adds those of commands that are clients.
func (c *connection) clientFlags(f *pflag.FlagSet) {
	c.flags(f)
	f.StringSliceVarP(&c.transports, "transports", "t", nil, "transports in their order: websocket, polling (default both; polling,websocket upgrades)")
	f.StringVar(&c.codec, "codec", "json", "json or msgpack, as the server has it")
}

func (c *connection) header() (http.Header, error) {
	header := make(http.Header)
	for _, line := range c.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header %q has no colon", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}

func (c *connection) tls() *tls.Config {
	return &tls.Config{InsecureSkipVerify: c.insecure}
}

// options are those of the client.
func (c *connection) options() (client.Options, error) {
	header, err := c.header()
	o := client.Options{
		Path: c.path, Header: header, Transports: c.transports, Timeout: c.timeout,
		Reconnection: client.Reconnection{Disabled: !c.reconnect},
		AnswerError:  func(codec.Args) error { return nil }, // answers are printed as they are
	}
	if err != nil {
		return o, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	transport.TLSClientConfig = c.tls()
	o.HTTPClient = withJar(&http.Client{Transport: transport})
	switch c.codec {
	case "json":
	case "msgpack":
		o.Codec = codec.MsgPack(codec.MsgPackOptions{})
	default:
		return o, fmt.Errorf("codec %q is neither json nor msgpack", c.codec)
	}
	if c.auth != "" {
		if o.Socket.Auth, err = objectOf(c.auth); err != nil {
			return o, err
		}
	}
	o.Socket.AuthFunc = c.authFunc
	return o, nil
}

// withJar is a client with a jar of its own, for balancers that go by cookie.
func withJar(shared *http.Client) *http.Client {
	own := *shared
	own.Jar, _ = cookiejar.New(nil) // it never fails
	return &own
}

// objectOf reads an auth payload.
func objectOf(text string) (json.RawMessage, error) {
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, fmt.Errorf("auth is no JSON object: %w", err)
	}
	return json.RawMessage(text), nil
}

// withScheme is the URL, with http for this machine and https for others if it says
// nothing.
func withScheme(target string) string {
	if strings.Contains(target, "://") {
		return target
	}
	if u, err := url.Parse("//" + target); err == nil {
		switch u.Hostname() {
		case "localhost", "127.0.0.1", "::1":
			return "http://" + target
		}
	}
	return "https://" + target
}

// open makes a socket, has prepare register what is to be there from the beginning, and
// connects.
func (c *connection) open(ctx context.Context, target string, prepare func(s *client.Socket)) (*client.Socket, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	s, err := client.New(withScheme(target), o)
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(s)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := s.Connect(ctx); err != nil {
		_ = s.Close() // it has no connection
		return nil, connectError(err)
	}
	return s, nil
}

// connectError gives an error its exit status.
func connectError(err error) error {
	if _, refused := errors.AsType[*client.ConnectError](err); refused {
		return &exitError{exitRefused, err}
	}
	return &exitError{exitNoConnection, err}
}

// call sends an event and returns the arguments of the answer.
func call(ctx context.Context, s *client.Socket, event string, args []any) ([]any, error) {
	const most = 64
	answer, pointers := make([]codec.Raw, most), make([]any, most)
	for i := range answer {
		pointers[i] = &answer[i]
	}
	if err := s.Call(ctx, event, args, pointers...); err != nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = &exitError{exitNoAnswer, fmt.Errorf("no answer to %q in time", event)}
		case errors.Is(err, client.ErrDisconnected) && client.ReasonOf(err) == client.ServerDisconnect:
			err = &exitError{exitRefused, err}
		case errors.Is(err, client.ErrDisconnected):
			err = &exitError{exitNoConnection, err}
		}
		return nil, err
	}
	values := []any{}
	for _, raw := range answer {
		if raw.IsZero() {
			break
		}
		v, err := valueOf(raw)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}
