package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/upshift-go/upshift/core"
)

// A Person is somebody on the page. The id is that of the socket: somebody who
// comes back is somebody new.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A Point is a place on the canvas, from 0 to 1 both ways, so that it means the
// same on screens of different sizes.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

var (
	// Move is what a page sends when its pointer has moved.
	Move = core.NewEvent[Point, core.None]("move")
	// Moved tells the others: whose pointer, and where it is.
	Moved = core.NewEvent[core.Args2[string, Point], core.None]("moved")
	// People is who is here, by name.
	People = core.NewEvent[[]Person, core.None]("people")
)

// names keeps the name of each socket with it.
var names = core.NewKey[string]("name")

// servePresence registers what the namespace does.
func servePresence(ns *core.Namespace) {
	p := &presence{ns: ns, here: make(map[string]Person)}
	ns.Use(named)
	ns.OnConnect(func(ctx context.Context, s *core.Socket) error {
		name, _ := names.Get(s) // named has set it
		return p.change(ctx, func() { p.here[s.ID()] = Person{s.ID(), name} })
	})
	ns.OnDisconnect(func(ctx context.Context, s *core.Socket, _ error) {
		_ = p.change(ctx, func() { delete(p.here, s.ID()) }) // people always encode
	})
	core.OnEvent(ns, Move, func(ctx context.Context, s *core.Socket, at Point) (core.None, error) {
		at.X, at.Y = min(max(at.X, 0), 1), min(max(at.Y, 0), 1)
		return core.None{}, Moved.Emit(ctx, s.Broadcast().Volatile(), core.Args2[string, Point]{A: s.ID(), B: at})
	})
}

// named is middleware that lets nobody in without a name.
func named(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		if r.Connect() {
			var auth struct{ Name string }
			if err := r.Socket.Auth(&auth); err != nil {
				return core.Errorf("bad_name", "A name is a text.")
			}
			name := strings.Join(strings.Fields(auth.Name), " ")
			if n := utf8.RuneCountInString(name); n == 0 || n > 24 {
				return core.Errorf("bad_name", "A name has 1 to 24 characters.")
			}
			names.Set(r.Socket, name)
		}
		return next(ctx, r)
	}
}

// presence is who is here.
type presence struct {
	ns *core.Namespace

	mu   sync.Mutex // guards here, and keeps lists in the order they were made
	here map[string]Person
}

// change changes who is here and tells everybody. Emit does not wait for
// anybody, so it may be called with the lock held.
func (p *presence) change(ctx context.Context, change func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	people := make([]Person, 0, len(p.here))
	for _, person := range p.here {
		people = append(people, person)
	}
	slices.SortFunc(people, func(a, b Person) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return People.Emit(ctx, p.ns.To().Latest("people"), people)
}
