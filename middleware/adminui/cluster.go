package adminui

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// Events between servers that are instrumented alike.
const (
	watchEvent   = "upshift:admin:watch"   // a page is connected here
	stateEvent   = "upshift:admin:state"   // answered with the sockets of a server
	commandEvent = "upshift:admin:command" // to be carried out in a namespace that the sender has not
)

const (
	// watchFor is how long a server believes that another one has pages. It is
	// told every interval.
	watchFor = 5 * interval
	// stateWithin is how long a page waits for the sockets of other servers.
	stateWithin = 2 * time.Second
)

// join finds out whether there are other servers, and listens to them.
func (a *Admin) join() {
	a.namespace.OnServerSide(watchEvent, func(context.Context, core.Args) (any, error) {
		a.watchFromAfar()
		return nil, nil
	})
	a.namespace.OnServerSide(stateEvent, func(ctx context.Context, _ core.Args) (any, error) {
		return a.answerState(ctx)
	})
	a.namespace.OnServerSide(commandEvent, func(ctx context.Context, args core.Args) (any, error) {
		var c command
		if err := args.Bind(&c); err != nil || !c.valid() || a.options.ReadOnly || a.ctx.Err() != nil {
			return nil, err
		}
		n := a.lookUp(c.Namespace)
		if n == nil {
			return nil, nil
		}
		return nil, c.carryOut(ctx, n.To(rooms(c.Filter)...).Local())
	})
	a.alone = errors.Is(a.namespace.ServerSideEmit(a.ctx, "upshift:admin:hello"), core.ErrNoAdapter)
}

// announce tells other servers that a page is connected here. It is not done
// for a page that is connected to one of them.
func (a *Admin) announce() {
	if a.alone {
		return
	}
	if err := a.namespace.ServerSideEmit(a.ctx, watchEvent); err != nil {
		a.options.Logger.LogAttrs(a.ctx, slog.LevelDebug, "admin UI: other servers not told", slog.Any("error", err))
	}
}

// watchFromAfar collects what happens for pages of another server, for some time.
func (a *Admin) watchFromAfar() {
	if !a.options.Development || a.ctx.Err() != nil {
		return
	}
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	a.queue.watchedUntil = time.Now().Add(watchFor)
	a.watchLocked()
}

// answerState returns the sockets of this server to another one, whose page
// follows what happens to them from then on.
func (a *Admin) answerState(ctx context.Context) ([]codec.Raw, error) {
	if !a.options.Development {
		return []codec.Raw{}, nil
	}
	a.watchFromAfar()
	answer := make(chan []codec.Raw, 1)
	a.queue.mu.Lock()
	a.queue.entries = append(a.queue.entries, func() { answer <- a.state(a.options.MaxStateBytes) })
	a.queue.mu.Unlock()
	a.wakeUp()
	select {
	case list := <-answer:
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-a.ctx.Done():
		return []codec.Raw{}, nil
	}
}

// stateOfOthers returns the sockets of other servers, of as many as answer in
// time.
func (a *Admin) stateOfOthers(within context.Context) []codec.Raw {
	if a.alone {
		return nil
	}
	ctx, cancel := context.WithTimeout(within, stateWithin)
	defer cancel()
	var all []codec.Raw
	room, missing := a.options.MaxStateBytes, false
	for args, err := range a.namespace.ServerSideCall(ctx, stateEvent) {
		var list []codec.Raw
		if err == nil {
			err = args.Bind(&list)
		}
		if list == nil { // it does not know the question
			missing = true
			a.options.Logger.LogAttrs(ctx, slog.LevelDebug, "admin UI: another server does not say who is there", slog.Any("error", err))
		}
		for _, one := range list {
			if room -= len(one.Bytes()); room >= 0 {
				all = append(all, one)
			}
		}
	}
	if missing {
		all = append(all, a.foreign(within, all, room)...)
	}
	return all
}
