package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/upshifttest"
)

// A book has the tokens that there are.
type book struct {
	mu     sync.Mutex // guards what follows
	tokens map[string]func(ctx context.Context) (auth.Identity, error)
	issued int
}

func (b *book) verify(ctx context.Context, token string) (auth.Identity, error) {
	b.mu.Lock()
	verify := b.tokens[token]
	b.mu.Unlock()
	if verify == nil {
		return auth.Identity{}, errors.New("no such token")
	}
	return verify(ctx)
}

// on makes verify do what a test wants for a token.
func (b *book) on(token string, verify func(ctx context.Context) (auth.Identity, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens == nil {
		b.tokens = make(map[string]func(ctx context.Context) (auth.Identity, error))
	}
	b.tokens[token] = verify
}

// issue makes a token that is issued now and lasts for a while; 0 is for ever.
func (b *book) issue(subject string, life time.Duration, roles ...string) string {
	id := auth.Identity{Subject: subject, Roles: roles, Issued: time.Now()}
	if life != 0 {
		id.Expires = time.Now().Add(life)
	}
	b.mu.Lock()
	b.issued++
	token := fmt.Sprintf("%s-%d", subject, b.issued)
	b.mu.Unlock()
	b.on(token, func(context.Context) (auth.Identity, error) { return id, nil })
	return token
}

// A rig is a server with a guard in front of its main namespace.
type rig struct {
	*core.Server
	*book
	guard *auth.Guard
	gone  chan error // the causes of disconnects
}

func newRig(t *testing.T, co core.Options, o auth.Options) *rig {
	t.Helper()
	r := &rig{book: new(book), gone: make(chan error, 100)}
	r.Server = upshifttest.NewServer(t, co)
	if o.Verify == nil {
		o.Verify = r.verify
	}
	var err error
	if r.guard, err = auth.New(r.Server, o); err != nil {
		t.Fatal(err)
	}
	r.Use(r.guard.Middleware)
	main := r.Of("/")
	main.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { r.gone <- cause })
	core.On(main, "whoami", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
		id, _ := auth.From(s)
		return id.Subject, nil
	})
	return r
}

func with(token any) upshifttest.Options {
	return upshifttest.Options{Auth: map[string]any{"token": token}}
}

func (r *rig) dial(t *testing.T, token string) *upshifttest.Client {
	t.Helper()
	return upshifttest.Dial(t, r.Server, "/", with(token))
}

// refused returns the code and the reason of a connect_error.
func refused(t *testing.T, srv *core.Server, namespace string, o upshifttest.Options) (code, reason string) {
	t.Helper()
	err := upshifttest.Refused(t, srv, namespace, o)
	refusal, ok := errors.AsType[*upshifttest.ConnectError](err)
	if !ok {
		t.Fatalf("refused with %v", err)
	}
	var data struct{ Code, Reason string }
	if err := refusal.Data.Bind(&data); err != nil {
		t.Fatal(err)
	}
	return data.Code, data.Reason
}

// reasonOf returns the code and the reason of an error answer.
func reasonOf(t *testing.T, err error) (code, reason string) {
	t.Helper()
	answer, ok := errors.AsType[*core.Error](err)
	if !ok {
		t.Fatalf("answered %v", err)
	}
	data, _ := answer.Data.(map[string]any)
	reason, _ = data["reason"].(string)
	return answer.Code, reason
}

// closed waits for the end of a client that its guard has closed.
func (r *rig) closed(t *testing.T, c *upshifttest.Client, reason string, cause error) {
	t.Helper()
	c.Expect("auth:closed", map[string]any{"code": "unauthorized", "reason": reason})
	if got := c.WaitDisconnect(); got != "io server disconnect" {
		t.Errorf("the client says %q", got)
	}
	if got := <-r.gone; !errors.Is(got, cause) || core.ReasonOf(got) != core.ServerDisconnect {
		t.Errorf("cause %v, want %v", got, cause)
	}
}

// left waits until a client that has not been closed by its guard has gone.
func (r *rig) left(t *testing.T) {
	t.Helper()
	if got := <-r.gone; core.ReasonOf(got) == core.ServerDisconnect {
		t.Errorf("cause %v", got)
	}
}
