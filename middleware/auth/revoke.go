package auth

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/upshift-go/upshift/core"
)

// Revoke closes all sockets of a subject with ErrRevoked, here and on the other
// servers of the cluster, and refuses its tokens unless they were issued later.
// It does not wait for the other servers. The error says that they could not be
// told, or that there is no subject; here it is done by then.
//
// A JWT says when it was issued in whole seconds, most of the time: one that is
// issued in the second of the revocation counts as older.
//
// It is remembered in memory, so a server that starts later does not know of it.
// Where that matters, let Verify ask whoever has issued the token.
func (g *Guard) Revoke(ctx context.Context, subject string) error {
	if subject == "" {
		return errors.New("auth: Revoke needs a subject")
	}
	at := time.Now()
	g.revoke(subject, at)
	err := g.server.Of("/").ServerSideEmit(ctx, g.revokeEvent(), subject, at.UnixMicro())
	if err != nil && !errors.Is(err, core.ErrNoAdapter) {
		return fmt.Errorf("auth: other servers do not know of the revocation: %w", err)
	}
	return nil
}

func (g *Guard) revokeEvent() string { return g.options.Name + ":revoke" }

// revokedElsewhere is called for the Revoke of another server.
func (g *Guard) revokedElsewhere(_ context.Context, args core.Args) (any, error) {
	var (
		subject string
		micros  int64
	)
	if err := args.Bind(&subject, &micros); err != nil {
		return nil, err
	}
	if subject == "" {
		return nil, errors.New("auth: revocation without a subject")
	}
	g.revoke(subject, time.UnixMicro(micros))
	return nil, nil
}

func (g *Guard) revoke(subject string, at time.Time) {
	var all []*member
	g.mu.Lock()
	g.revoked.add(subject, at, time.Now())
	for m := g.subjects[subject]; m != nil; m = m.next {
		all = append(all, m)
	}
	g.mu.Unlock()
	for _, m := range all {
		m.end(ErrRevoked)
	}
}

// revocations are those that are remembered. One that is forgotten, because it
// is old or because there are too many, counts for everybody from then on:
// tokens that were issued before are as old as it is, and should have ended if
// it was forgotten in time.
type revocations struct {
	life time.Duration
	max  int

	bySubject map[string]*list.Element
	order     *list.List // of *revocation, by when they were heard of
	floor     time.Time  // when the latest was that is forgotten
	blanket   time.Time  // until then, what does not say when it was issued is refused
}

// A revocation says that what a subject was issued up to a time is void.
type revocation struct {
	subject   string
	at, until time.Time
}

func revocationIn(e *list.Element) *revocation {
	r, _ := e.Value.(*revocation) // the list holds nothing else
	return r
}

func newRevocations(life time.Duration, most int) revocations {
	return revocations{life: life, max: most, bySubject: make(map[string]*list.Element), order: list.New()}
}

func (r *revocations) add(subject string, at, now time.Time) {
	r.prune(now)
	if e, ok := r.bySubject[subject]; ok {
		if before := revocationIn(e).at; before.After(at) {
			at = before
		}
		r.order.Remove(e)
	} else if r.order.Len() >= r.max {
		r.forget(r.order.Front())
	}
	r.bySubject[subject] = r.order.PushBack(&revocation{subject: subject, at: at, until: now.Add(r.life)})
}

// prune forgets what no valid token can be older than.
func (r *revocations) prune(now time.Time) {
	for e := r.order.Front(); e != nil && !now.Before(revocationIn(e).until); e = r.order.Front() {
		r.forget(e)
	}
}

func (r *revocations) forget(e *list.Element) {
	old := revocationIn(e)
	r.order.Remove(e)
	delete(r.bySubject, old.subject)
	if old.at.After(r.floor) {
		r.floor = old.at
	}
	if old.until.After(r.blanket) {
		r.blanket = old.until
	}
}

var errForgotten = fmt.Errorf("%w: it was issued before a revocation that is forgotten (Options.TokenLife, MaxRevocations)", ErrRevoked)

// check returns an error that wraps ErrRevoked if the identity is revoked.
func (r *revocations) check(id *Identity, now time.Time) error {
	if id.Subject == "" {
		return nil
	}
	r.prune(now)
	dated := !id.Issued.IsZero()
	if e, ok := r.bySubject[id.Subject]; ok && (!dated || !id.Issued.After(revocationIn(e).at)) {
		return ErrRevoked
	}
	if dated && !id.Issued.After(r.floor) || !dated && now.Before(r.blanket) {
		return errForgotten
	}
	return nil
}
