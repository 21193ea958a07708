package core

// A Key names a value of type T that is kept with a socket: who the user is,
// what middleware found out. Keys are compared by identity, so two packages
// cannot collide.
type Key[T any] struct{ name string }

// NewKey makes a key. The name is for people.
func NewKey[T any](name string) *Key[T] { return &Key[T]{name: name} }

// String returns the key's name.
func (k *Key[T]) String() string { return k.name }

// Set keeps v with s. It may be called from any goroutine.
func (k *Key[T]) Set(s *Socket, v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = make(map[any]any, 1)
	}
	s.values[k] = v
}

// Get returns the value kept with s, or the zero value and false. It may be
// called from any goroutine.
func (k *Key[T]) Get(s *Socket) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[k].(T)
	return v, ok
}
