package core

import (
	"fmt"
	"log/slog"

	"github.com/upshift-go/upshift/codec"
)

// A Key names a value of type T that is kept with a socket: who the user is,
// what middleware found out. Keys are compared by identity, so two packages
// cannot collide.
type Key[T any] struct {
	name   string
	shared bool
}

// NewKey makes a key. The name is for people.
func NewKey[T any](name string) *Key[T] { return &Key[T]{name: name} }

// NewSharedKey makes a key whose values other servers of a cluster see, too: in
// Target.Fetch, and when a client comes back to another server than the one it
// had. They are encoded as arguments of events are. The name must be the same on
// all servers, and another than that of all other shared keys; Node servers see
// the value as socket.data[name].
func NewSharedKey[T any](name string) *Key[T] { return &Key[T]{name: name, shared: true} }

// String returns the key's name.
func (k *Key[T]) String() string { return k.name }

// Set keeps v with s. It may be called from any goroutine.
func (k *Key[T]) Set(s *Socket, v T) {
	s.mu.Lock()
	if s.values == nil {
		s.values = make(map[any]any, 1)
	}
	s.values[k] = v
	s.mu.Unlock()
	if k.shared {
		s.changed()
	}
}

// Get returns the value kept with s, or the zero value and false. It may be
// called from any goroutine.
func (k *Key[T]) Get(s *Socket) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[k].(T)
	if ok || !k.shared {
		return v, ok
	}
	raw, ok := s.inherited[k.name]
	if !ok || raw.Bind(&v) != nil { // another version of the program has other ideas of it
		return v, false
	}
	return v, true
}

// From returns the value of a shared key that is kept with a socket, on whatever
// server. ok is false if there is none; the error is that of decoding it.
func (k *Key[T]) From(info *SocketInfo) (v T, ok bool, err error) {
	var all map[string]codec.Raw
	if err := info.Data.Bind(&all); err != nil {
		return v, false, fmt.Errorf("core: data of socket %s: %w", info.ID, err)
	}
	raw, ok := all[k.name]
	if !ok {
		return v, false, nil
	}
	if err := raw.Bind(&v); err != nil {
		return v, true, fmt.Errorf("core: %s of socket %s: %w", k.name, info.ID, err)
	}
	return v, true, nil
}

// sharedName returns the name under which other servers see the value.
func (k *Key[T]) sharedName() (name string, ok bool) { return k.name, k.shared }

// shared is what other servers see of the socket's values, as an object.
func (s *Socket) shared() codec.Raw {
	all := make(map[string]any)
	s.mu.Lock()
	for name, raw := range s.inherited {
		all[name] = raw
	}
	for k, v := range s.values {
		if name, ok := k.(interface{ sharedName() (string, bool) }).sharedName(); ok {
			all[name] = v
		}
	}
	s.mu.Unlock()
	if len(all) == 0 {
		return emptyObject
	}
	data, err := codec.AppendMsgPack(nil, all)
	if err == nil {
		var raw codec.Raw
		if raw, err = codec.ReadMsgPack(data); err == nil {
			return raw
		}
	}
	s.conn.server.log.ErrorContext(s.ctx, "values of a socket cannot be shared", slog.String("socket", s.id), slog.Any("error", err))
	return emptyObject
}
