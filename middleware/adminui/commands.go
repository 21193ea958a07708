package adminui

import (
	"context"
	"log/slog"
	"slices"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A command is what the UI wants done with sockets.
type command struct {
	Name      string `json:"name"` // join, leave, _disconnect
	Namespace string `json:"nsp"`
	Room      string `json:"room,omitempty"`   // join, leave
	Close     bool   `json:"close,omitempty"`  // _disconnect: the whole session
	Filter    string `json:"filter,omitempty"` // room or socket id; empty for everybody
}

// maxName is how long what a command names may be, in bytes.
const maxName = 1024

var errCommand = &core.Error{Code: core.CodeBadPayload, Message: "not a command of the admin UI"}

// handleCommands registers what the UI may do. None of it is there in a
// read-only Admin.
func (a *Admin) handleCommands() {
	for _, name := range []string{"join", "leave"} {
		a.namespace.Handle(name, func(ctx context.Context, r *core.Request) error {
			c := command{Name: name}
			if r.Bind(&c.Namespace, &c.Room, &c.Filter) != nil || c.Room == "" {
				return errCommand
			}
			return a.command(ctx, r.Socket, c)
		})
	}
	a.namespace.Handle("_disconnect", func(ctx context.Context, r *core.Request) error {
		c := command{Name: "_disconnect"}
		if r.Bind(&c.Namespace, &c.Close, &c.Filter) != nil {
			return errCommand
		}
		return a.command(ctx, r.Socket, c)
	})
	a.namespace.Handle("emit", a.handleEmit)
}

// command carries out a command on every server.
func (a *Admin) command(ctx context.Context, page *core.Socket, c command) error {
	if !c.valid() {
		return errCommand
	}
	a.audit(ctx, page, c.Name,
		slog.String("namespace", c.Namespace), slog.String("room", c.Room),
		slog.Bool("close", c.Close), slog.String("filter", c.Filter))
	if n := a.lookUp(c.Namespace); n != nil { // a client must not make one
		return c.carryOut(ctx, n.To(rooms(c.Filter)...))
	}
	if a.alone {
		return nil
	}
	if err := a.namespace.ServerSideEmit(ctx, commandEvent, c); err != nil {
		a.options.Logger.LogAttrs(ctx, slog.LevelError, "admin UI: command not sent to other servers", slog.Any("error", err))
	}
	return nil
}

func (c *command) valid() bool {
	return c.Namespace != "" && max(len(c.Namespace), len(c.Room), len(c.Filter)) <= maxName
}

// carryOut does what a command says with the sockets of target.
func (c *command) carryOut(ctx context.Context, target core.Target) error {
	switch c.Name {
	case "join":
		return target.Join(ctx, c.Room)
	case "leave":
		return target.Leave(ctx, c.Room)
	case "_disconnect":
		if c.Close {
			target.CloseSessions()
		} else {
			target.Disconnect()
		}
	}
	return nil
}

// handleEmit sends an event to clients. The pages of the UI are not among them.
func (a *Admin) handleEmit(ctx context.Context, r *core.Request) error {
	var namespace, filter, event string
	if r.Bind(&namespace, &filter, &event) != nil || event == "" ||
		max(len(namespace), len(filter), len(event)) > maxName {
		return errCommand
	}
	a.audit(ctx, r.Socket, "emit",
		slog.String("namespace", namespace), slog.String("filter", filter), slog.String("event", event))
	n := a.lookUp(namespace)
	if n == nil || n == a.namespace {
		return nil
	}
	const before = 3
	args := make([]any, 0, r.Args.Len())
	for i := before; i < r.Args.Len(); i++ {
		args = append(args, r.Args.Raw(i))
	}
	if err := codec.CheckEvent(event); err != nil {
		return errCommand
	}
	return n.To(rooms(filter)...).Emit(ctx, event, args...)
}

// lookUp returns a namespace that there is, or nil.
func (a *Admin) lookUp(name string) *core.Namespace {
	all := a.server.Namespaces()
	i := slices.IndexFunc(all, func(n *core.Namespace) bool { return n.Name() == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

func rooms(filter string) []string {
	if filter == "" {
		return nil
	}
	return []string{filter}
}

// audit records a command before it is carried out.
func (a *Admin) audit(ctx context.Context, page *core.Socket, command string, attrs ...slog.Attr) {
	a.options.Logger.LogAttrs(ctx, slog.LevelWarn, "admin UI: command",
		slices.Concat(a.who(page), []slog.Attr{slog.String("command", command)}, attrs)...)
}
