package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/event"
)

const connectHelp = `Commands:
  emit EVENT [ARGUMENT...]    send an event
  call EVENT [ARGUMENT...]    send an event and print the answer
  answer EVENT [ARGUMENT...]  answer that event of the server so from now on
  join NAMESPACE [AUTH]       connect to a namespace, or go back to it
  leave                       leave the namespace
  state                       say where things stand
  help, quit
An argument that is JSON is sent as that, any other as text; {"$binary":"<base64>"} is
bytes. What comes from the server is printed.`

func newConnect() *cobra.Command {
	var (
		c       = connection{reconnect: true}
		asJSON  bool
		patient time.Duration
	)
	cmd := &cobra.Command{
		Use:   "connect URL",
		Short: "Talk to a server: emit, call, listen and join by hand or by script",
		Long: `Connect, print what comes and do what is typed. On a terminal there is a history
(cursor keys) and completion of commands (tab). Otherwise commands are read from standard
input, one a line, and what happens is printed as a line of JSON each; at the end of the
input the connection is closed.

` + connectHelp + `

Exit status of a script: 0 all its commands have succeeded, otherwise that of the last
that has not: 1 it is wrong, 2 there is no connection, or none any more, 3 the server
refuses, or disconnects, 4 there is no answer in time.`,
		Example: `  upshift connect http://localhost:3000
  printf 'join /admin {"token":"…"}\ncall stats\n' | upshift connect https://example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			return runConsole(cmd, &c, words[0], asJSON, patient)
		},
	}
	c.clientFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "lines of JSON, also on a terminal")
	cmd.Flags().DurationVar(&patient, "wait", 10*time.Second, "how long to wait for answers, and for a namespace")
	return cmd
}

// A console is one use of the command connect.
type console struct {
	*printer
	patient time.Duration
	manager *client.Manager
	sockets map[string]*client.Socket
	auths   map[string]*auth // of the sockets
	current *client.Socket
	answers map[string]func() // stop what answers an event
	failed  error             // the last command's, in a script
	unread  error             // why there are no more lines, nil at their end; set before they are closed
}

// An auth is the payload of the connect requests of a socket, which join can change.
type auth struct {
	mu      sync.Mutex // guards payload
	payload json.RawMessage
}

// set reads the payload.
func (a *auth) set(text string) error {
	payload, err := objectOf(text)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.payload = payload
	return nil
}

// get is an AuthFunc.
func (a *auth) get(context.Context) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.payload == nil {
		return nil, nil
	}
	return a.payload, nil
}

func runConsole(cmd *cobra.Command, c *connection, target string, asJSON bool, patient time.Duration) error {
	t := &console{
		printer: newPrinter(cmd.OutOrStdout(), asJSON), patient: patient,
		sockets: make(map[string]*client.Socket), auths: make(map[string]*auth), answers: make(map[string]func()),
	}
	main := new(auth)
	if c.auth != "" {
		if err := main.set(c.auth); err != nil {
			return err
		}
	}
	c.authFunc = main.get
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	lines, done, err := t.input(cmd.InOrStdin(), cancel)
	if err != nil {
		return err
	}
	defer done()
	s, err := c.open(ctx, target, func(s *client.Socket) { follow(s, t.print) })
	switch {
	case err != nil && ctx.Err() != nil && cmd.Context().Err() == nil:
		return nil // it was ended from the keyboard
	case err != nil:
		return err
	}
	defer t.mute() // handlers may still be at it
	defer func() { _ = s.Close() }()
	t.manager, t.current = s.Manager(), s
	t.sockets[s.Namespace()], t.auths[s.Namespace()] = s, main
	for {
		select {
		case text, ok := <-lines:
			if !ok && t.unread != nil {
				return t.unread
			}
			if !ok || !t.do(ctx, text) {
				if t.pretty {
					return nil
				}
				return t.failed
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// input begins to read lines: with editing if both ends are a terminal. Then the keys
// that end a program are read like all others; end is called for them at once, whatever
// is being done.
func (t *console) input(in io.Reader, end func()) (lines <-chan string, done func(), err error) {
	const ahead = 16 // lines that may be typed meanwhile
	out := make(chan string, ahead)
	stop := make(chan struct{})
	done = sync.OnceFunc(func() { close(stop) })
	read := func(next func() (string, error)) {
		defer close(out)
		for {
			text, err := next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.unread = fmt.Errorf("standard input: %w", err)
				}
				return
			}
			select {
			case out <- text:
			case <-stop:
				return
			}
		}
	}
	file, ok := in.(*os.File)
	if !ok || !t.pretty || !term.IsTerminal(int(file.Fd())) {
		scanner := bufio.NewScanner(in)
		const longest = 16 << 20
		scanner.Buffer(nil, longest)
		go read(func() (string, error) {
			if !scanner.Scan() {
				return "", cmp.Or(scanner.Err(), io.EOF)
			}
			return scanner.Text(), nil
		})
		return out, done, nil
	}
	before, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("terminal: %w", err)
	}
	terminal := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{file, t.out}, "> ")
	terminal.AutoCompleteCallback = complete
	screen := t.out
	t.mu.Lock()
	t.out = terminal
	t.mu.Unlock()
	go func() {
		defer end()
		read(func() (string, error) {
			if width, height, err := term.GetSize(int(file.Fd())); err == nil {
				_ = terminal.SetSize(width, height) // it only matters where lines break
			}
			return terminal.ReadLine()
		})
	}()
	reading := done
	return out, func() {
		reading()
		_, _ = io.WriteString(screen, "\r\x1b[K") // in place of the prompt
		_ = term.Restore(int(file.Fd()), before)
	}, nil
}

// verbs are the commands, for completion.
var verbs = []string{"answer", "call", "emit", "help", "join", "leave", "quit", "state"}

// complete completes the first word with the tab key.
func complete(text string, pos int, key rune) (string, int, bool) {
	if key != '\t' || pos != len(text) || strings.Contains(text, " ") {
		return "", 0, false
	}
	for _, verb := range verbs {
		if strings.HasPrefix(verb, text) {
			return verb + " ", len(verb) + 1, true
		}
	}
	return "", 0, false
}

// do does what a line says, and reports false if that is to end.
func (t *console) do(ctx context.Context, text string) bool {
	words := splitLine(text)
	if len(words) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, t.patient)
	defer cancel()
	var err error
	switch verb, rest := words[0], words[1:]; {
	case verb == "quit" || verb == "exit":
		return false
	case verb == "help":
		t.write(connectHelp)
	case verb == "state":
		t.print(line{
			Kind: "state", Namespace: t.current.Namespace(), State: t.current.State().String(), ID: t.current.ID(), Transport: t.current.Transport(),
		})
	case verb == "leave":
		t.current.Disconnect()
	case len(rest) == 0:
		err = fmt.Errorf("%s wants more, or is no command: try help", verb)
	case verb == "emit":
		err = t.current.Emit(ctx, eventOf(rest[0]), parseArgs(rest[1:])...)
	case verb == "call":
		var values []any
		if values, err = call(ctx, t.current, eventOf(rest[0]), parseArgs(rest[1:])); err == nil {
			t.print(line{Kind: "answer", Namespace: t.current.Namespace(), Event: eventOf(rest[0]), Args: values})
		}
	case verb == "answer":
		t.answer(eventOf(rest[0]), parseArgs(rest[1:]))
	case verb == "join":
		err = t.join(ctx, rest)
	default:
		err = fmt.Errorf("%s is no command: try help", verb)
	}
	if err != nil {
		t.failed = err
		t.print(line{Kind: "error", Namespace: t.current.Namespace(), Error: err.Error()})
	}
	return true
}

// answer has an event of the server answered.
func (t *console) answer(name string, args []any) {
	key := t.current.Namespace() + " " + name
	if stop := t.answers[key]; stop != nil {
		stop()
	}
	t.answers[key] = t.current.Listen(name, func(context.Context, event.Arguments) ([]any, error) { return args, nil })
}

// join connects to a namespace.
func (t *console) join(ctx context.Context, words []string) error {
	namespace := words[0]
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	s, there := t.sockets[namespace]
	if there && len(words) > 1 && s.Connected() {
		return fmt.Errorf("you are in %s: leave it to come back with another auth", namespace)
	}
	a := t.auths[namespace]
	if !there {
		a = new(auth)
	}
	if len(words) > 1 {
		if err := a.set(words[1]); err != nil {
			return err
		}
	}
	if !there {
		var err error
		if s, err = t.manager.Socket(namespace, client.SocketOptions{AuthFunc: a.get}); err != nil {
			return err
		}
		follow(s, t.print)
	}
	if !s.Connected() {
		if err := s.Connect(ctx); err != nil {
			if !there {
				_ = s.Close() // nothing is to come from it
			}
			return connectError(err)
		}
	}
	t.sockets[namespace], t.auths[namespace], t.current = s, a, s
	return nil
}
