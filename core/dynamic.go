package core

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/upshift-go/upshift/codec"
)

// A Dynamic is a family of namespaces that are made when clients ask for them
// and share middleware, handlers and hooks. Each has rooms of its own. What is
// registered later counts for those that exist, too.
//
// A namespace is removed when the last socket has left it and recovery keeps
// nothing for it, unless the program has asked for it with Of. How many there
// are at once is bounded by Options.MaxDynamicNamespaces: a client chooses
// names.
type Dynamic struct {
	router
	pattern string // of OfPattern
	match   func(ctx context.Context, r *NamespaceRequest) (params map[string]string, ok bool)
	pure    bool // match looks at the name alone

	// Guarded by server.mu.
	children map[string]*Namespace
}

// A NamespaceRequest is a client's wish to connect to a namespace that does
// not exist yet.
type NamespaceRequest struct {
	// Name is the namespace's name, as the client sent it. It starts with a
	// slash and holds no comma; nothing else is certain.
	Name string
	// Handshake is what the client sent when it opened its session.
	Handshake *Handshake

	auth codec.Raw
}

// Auth decodes the auth payload that the client sent with its wish into dst. If
// it sent none, dst is left alone.
func (r *NamespaceRequest) Auth(dst any) error { return r.auth.Bind(dst) }

// OfPattern returns the family of namespaces whose names match a pattern. A
// part in braces stands for one part of the name, one with dots at the end for
// the rest of it:
//
//	srv.OfPattern("/rooms/{room}")        // Namespace.Param("room")
//	srv.OfPattern("/files/{path...}")
//
// A namespace that exists is preferred to families, and a family that was
// added before to one that was added later. It panics if the pattern is
// malformed.
func (srv *Server) OfPattern(pattern string) *Dynamic {
	p, err := parsePattern(pattern)
	if err != nil {
		panic(err.Error()) //nolint:forbidigo // a programmer's error, at registration
	}
	return srv.addDynamic(&Dynamic{pattern: pattern, pure: true, match: func(_ context.Context, r *NamespaceRequest) (map[string]string, bool) {
		return p.match(r.Name)
	}})
}

// OfFunc returns the family of namespaces that match says yes to. It is called
// for each connect to a namespace that does not exist, on a goroutine that it
// may block; ctx ends when the client leaves, or after Options.ConnectTimeout.
// A panic counts as no.
func (srv *Server) OfFunc(match func(ctx context.Context, r *NamespaceRequest) bool) *Dynamic {
	return srv.addDynamic(&Dynamic{match: func(ctx context.Context, r *NamespaceRequest) (map[string]string, bool) {
		return nil, match(ctx, r)
	}})
}

func (srv *Server) addDynamic(d *Dynamic) *Dynamic {
	d.server = srv
	d.children = make(map[string]*Namespace)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.dynamics = append(slices.Clip(srv.dynamics), d)
	return d
}

// Namespaces returns the namespaces of the family that exist now, in no order.
func (d *Dynamic) Namespaces() []*Namespace {
	d.server.mu.RLock()
	defer d.server.mu.RUnlock()
	all := make([]*Namespace, 0, len(d.children))
	for _, n := range d.children {
		all = append(all, n)
	}
	return all
}

// To returns a target: everybody who is in one of the rooms of one of the
// namespaces that exist when something is sent, or everybody in them if there
// are no rooms.
func (d *Dynamic) To(rooms ...string) Target { return Target{family: d}.To(rooms...) }

// In is To.
func (d *Dynamic) In(rooms ...string) Target { return d.To(rooms...) }

// Except returns a target: everybody who is in none of the rooms.
func (d *Dynamic) Except(rooms ...string) Target { return d.To().Except(rooms...) }

// Emit sends an event to every socket of every namespace of the family. See
// Target.Emit.
func (d *Dynamic) Emit(ctx context.Context, event string, args ...any) error {
	return d.To().Emit(ctx, event, args...)
}

var (
	errInvalidNamespace = &Error{Message: "Invalid namespace"} // the reference's text
	errDynamicLimit     = &Error{Code: CodeTooManyNamespaces, Message: "too many namespaces"}
)

// resolve returns the namespace that a client asks for, made by a family if
// need be, with the client counted in. It may block.
func (srv *Server) resolve(ctx context.Context, r *NamespaceRequest) (*Namespace, error) {
	srv.mu.RLock()
	families := srv.dynamics
	srv.mu.RUnlock()
	for _, d := range families {
		var (
			params map[string]string
			ok     bool
		)
		err := guard(func() error {
			params, ok = d.match(ctx, r)
			return nil
		})
		if err != nil {
			srv.reportMatch(r.Name, err)
			continue
		}
		if ok {
			return srv.enterDynamic(d, r.Name, params)
		}
	}
	return nil, errInvalidNamespace
}

// enterDynamic counts a client into the namespace of d with that name, which is
// made if there is none.
func (srv *Server) enterDynamic(d *Dynamic, name string, params map[string]string) (*Namespace, error) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n := srv.namespaces[name] // another client may have been faster
	if n == nil {
		if srv.dynamicCount >= srv.options.MaxDynamicNamespaces {
			srv.stats.dynamicNamespaces.Add(1)
			return nil, errDynamicLimit
		}
		n = srv.addChild(d, name, params)
	}
	n.members++
	return n, nil
}

// addChild makes a namespace of d. The lock is held.
func (srv *Server) addChild(d *Dynamic, name string, params map[string]string) *Namespace {
	n := newNamespace(srv, name)
	n.base, n.dynamic, n.params = &d.router, d, params
	srv.namespaces[name] = n
	d.children[name] = n
	srv.dynamicCount++
	srv.changed(name)
	return n
}

// enter returns the namespace with exactly this name, with a client counted
// in, or nil.
func (srv *Server) enter(name string) *Namespace {
	srv.mu.RLock()
	n := srv.namespaces[name]
	srv.mu.RUnlock()
	if n == nil || n.dynamic == nil {
		return n
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if n = srv.namespaces[name]; n != nil {
		n.members++
	}
	return n
}

// exit counts somebody out of a namespace, which is removed if it was the last.
func (srv *Server) exit(n *Namespace) {
	if n.dynamic != nil && srv.countOut(n) && n.recovery != nil {
		n.recovery.close()
	}
}

// countOut reports whether the namespace was removed.
func (srv *Server) countOut(n *Namespace) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n.members--
	if n.members > 0 || n.pinned {
		return false
	}
	delete(srv.namespaces, n.name)
	delete(n.dynamic.children, n.name)
	srv.dynamicCount--
	srv.changed(n.name)
	return true
}

// hasDynamics reports whether a namespace that does not exist may come to be.
func (srv *Server) hasDynamics() bool {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return len(srv.dynamics) > 0
}

// A pattern is the parsed form of what OfPattern takes.
type pattern struct {
	parts []patternPart
	rest  bool // the last part stands for any number of parts
}

type patternPart struct {
	text string
	name bool // text is the name of a parameter
}

func parsePattern(text string) (*pattern, error) {
	malformed := func(what string) error { return fmt.Errorf("core: pattern %q: %s", text, what) }
	if !strings.HasPrefix(text, "/") || strings.Contains(text, ",") {
		return nil, malformed("it must start with a slash and hold no comma")
	}
	p := new(pattern)
	for part := range strings.SplitSeq(text[1:], "/") {
		name, ok := strings.CutPrefix(part, "{")
		switch {
		case p.rest:
			return nil, malformed("nothing may follow " + p.parts[len(p.parts)-1].text + "...")
		case !ok && !strings.ContainsAny(part, "{}"):
			p.parts = append(p.parts, patternPart{text: part})
			continue
		case !ok || !strings.HasSuffix(name, "}"):
			return nil, malformed("a parameter is a whole part, in braces")
		}
		name, p.rest = strings.CutSuffix(strings.TrimSuffix(name, "}"), "...")
		if name == "" || strings.ContainsAny(name, "{}") || slices.Contains(p.parts, patternPart{text: name, name: true}) {
			return nil, malformed("a parameter needs a name of its own")
		}
		p.parts = append(p.parts, patternPart{text: name, name: true})
	}
	if !slices.ContainsFunc(p.parts, func(part patternPart) bool { return part.name }) {
		return nil, malformed("it has no parameter, use Of")
	}
	return p, nil
}

// match returns the parameters in a name, if it matches. A parameter stands for
// at least one character.
func (p *pattern) match(name string) (map[string]string, bool) {
	params := make(map[string]string, len(p.parts))
	left, more := strings.CutPrefix(name, "/")
	for i, part := range p.parts {
		if !more {
			return nil, false
		}
		var value string
		if p.rest && i == len(p.parts)-1 {
			value, left, more = left, "", false
		} else {
			value, left, more = strings.Cut(left, "/")
		}
		switch {
		case !part.name && value != part.text, part.name && value == "":
			return nil, false
		case part.name:
			params[part.text] = value
		}
	}
	return params, !more
}
