package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/upshift-go/upshift/middleware/auth"
)

// KeySetOptions say how the keys of an issuer are kept. The zero value of each
// field is its default.
type KeySetOptions struct {
	// Client fetches the keys. Default: one on http.DefaultTransport that
	// follows redirects to addresses only that would be taken here.
	Client *http.Client
	// Timeout is how long a fetch may take. Default 10 s.
	Timeout time.Duration
	// MaxBytes is how long an answer may be. Default 1 MiB.
	MaxBytes int64
	// Refresh is the age at which keys are fetched anew, when one is needed.
	// Who needs it does not wait. Default 15 minutes.
	Refresh time.Duration
	// MinInterval is the least time between two fetches, whether they are for
	// a key that is not known, for the age of the others, or because the last
	// has failed: clients choose the key ids that they send. A key that was
	// added is known after this time at the latest. Default 10 s.
	MinInterval time.Duration
	// MaxStale is for how long the keys are used while they cannot be fetched.
	// Then none is valid. Default 24 h.
	MaxStale time.Duration
	// InsecureHTTP allows an address that is not https. Anybody on the way can
	// put in a key then. http is allowed without it on this machine.
	InsecureHTTP bool
}

const maxRedirects = 3

var errRedirects = errors.New("jwt: too many redirects")

func (o KeySetOptions) withDefaults() (KeySetOptions, error) {
	if o.Client == nil {
		insecure := o.InsecureHTTP
		o.Client = &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return errRedirects
			}
			return checkAddress(r.URL, insecure)
		}}
	}
	for field, value := range map[*time.Duration]time.Duration{
		&o.Timeout: 10 * time.Second, &o.Refresh: 15 * time.Minute, &o.MinInterval: 10 * time.Second, &o.MaxStale: 24 * time.Hour,
	} {
		if *field < 0 {
			return o, errors.New("jwt: KeySetOptions has a negative duration")
		}
		if *field == 0 {
			*field = value
		}
	}
	if o.MaxBytes < 0 {
		return o, errors.New("jwt: KeySetOptions.MaxBytes is negative")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	return o, nil
}

// A KeySet has the keys that an issuer publishes, as a JWK Set (RFC 7517). They
// are fetched when the first is needed, and again when they are old or a token
// names one that is not among them. Only public keys for signatures are taken.
// It is safe for concurrent use.
type KeySet struct {
	url     string
	options KeySetOptions
	ctx     context.Context //nolint:containedctx // it ends fetches when the set is closed
	close   context.CancelFunc
	fetches sync.WaitGroup

	mu      sync.Mutex     // guards what follows
	keys    []publishedKey // replaced as a whole
	fetched time.Time      // when the keys came
	tried   time.Time      // when the last fetch ended
	failed  error          // of the last fetch
	flight  chan struct{}  // closed when the fetch under way has ended; nil if there is none
}

// A publishedKey is a key of the set.
type publishedKey struct {
	id, algorithm string // empty if the set does not say
	key           any
}

// NewKeySet makes a KeySet of the keys at an address. It does not fetch them yet.
// The error says what is wrong with the address or the options.
func NewKeySet(address string, o KeySetOptions) (*KeySet, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err == nil {
		err = checkAddress(u, o.InsecureHTTP)
	}
	if err != nil {
		return nil, fmt.Errorf("jwt: address of the key set: %w", err)
	}
	k := &KeySet{url: address, options: o}
	k.ctx, k.close = context.WithCancel(context.Background())
	return k, nil
}

// checkAddress returns why keys must not be fetched from an address.
func checkAddress(u *url.URL, insecure bool) error {
	ip := net.ParseIP(u.Hostname())
	here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("jwt: %q is not one of https", u)
	case u.Scheme == "http" && !insecure && !here:
		return fmt.Errorf("jwt: %q is not safe: use https", u)
	}
	return nil
}

// Close ends a fetch that is under way, and waits for it. The keys that there are
// can be used until they are too old.
func (k *KeySet) Close() {
	k.mu.Lock()
	k.close() // nothing starts a fetch from now on
	k.mu.Unlock()
	k.fetches.Wait()
}

// find returns the key with the given id for an algorithm. A token without an id
// finds the only one there is. It waits for a fetch, if that can help, until ctx
// ends.
func (k *KeySet) find(ctx context.Context, id string, method jwt.SigningMethod) (any, error) {
	key, flight, err := k.look(id, method)
	if key != nil || flight == nil {
		return key, err
	}
	select {
	case <-flight:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", auth.ErrUnavailable, context.Cause(ctx))
	}
	key, _, err = k.look(id, method)
	return key, err
}

// look returns a key that is there, or else a fetch to wait for, if there may be
// one. Keys that are old are fetched, but not waited for.
func (k *KeySet) look(id string, method jwt.SigningMethod) (key any, flight <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := time.Since(k.fetched)
	if !k.fetched.IsZero() && age <= k.options.MaxStale {
		key = choose(k.keys, id, method)
	}
	if key == nil || age > k.options.Refresh {
		flight = k.fetchLocked()
	}
	switch {
	case key != nil:
		return key, nil, nil
	case k.failed != nil:
		// What was asked for may be in what could not be fetched.
		return nil, flight, fmt.Errorf("%w: %w", auth.ErrUnavailable, k.failed)
	case k.fetched.IsZero():
		return nil, flight, fmt.Errorf("%w: jwt: the key set is closed", auth.ErrUnavailable)
	}
	return nil, flight, fmt.Errorf("%w: unknown key %.64q", auth.ErrInvalid, id)
}

// choose returns the key that is meant, or nil.
func choose(keys []publishedKey, id string, method jwt.SigningMethod) (key any) {
	for _, candidate := range keys {
		if id != "" && candidate.id != id || candidate.algorithm != "" && candidate.algorithm != method.Alg() ||
			fits(candidate.key, method) != nil {
			continue
		}
		if id != "" {
			return candidate.key
		}
		if key != nil {
			return nil // it could be either
		}
		key = candidate.key
	}
	return key
}

// fetchLocked returns the fetch that is under way, which it starts if it may.
func (k *KeySet) fetchLocked() <-chan struct{} {
	if k.flight != nil {
		return k.flight
	}
	if k.ctx.Err() != nil || !k.tried.IsZero() && time.Since(k.tried) < k.options.MinInterval {
		return nil
	}
	flight := make(chan struct{})
	k.flight = flight
	k.fetches.Go(func() {
		keys, err := k.fetch()
		k.mu.Lock()
		defer k.mu.Unlock()
		now := time.Now()
		k.tried, k.failed, k.flight = now, err, nil
		if err == nil {
			k.keys, k.fetched = keys, now
		}
		close(flight)
	})
	return flight
}

// fetch gets the keys from the issuer.
func (k *KeySet) fetch() ([]publishedKey, error) {
	ctx, cancel := context.WithTimeout(k.ctx, k.options.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := k.options.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // what was read counts
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwt: key set: %s", answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, k.options.MaxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > k.options.MaxBytes:
		return nil, fmt.Errorf("jwt: key set: more than %d bytes", k.options.MaxBytes)
	}
	return parseKeySet(text)
}

// parseKeySet reads the keys that can be used. A set without one is an error: it
// would throw away those that can.
func parseKeySet(text []byte) ([]publishedKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("jwt: key set: %w", err)
	}
	var keys []publishedKey
	for _, raw := range set.Keys {
		key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue // others may be readable
		}
		about := key.Marshal()
		if about.USE != "" && about.USE != jwkset.UseSig {
			continue
		}
		keys = append(keys, publishedKey{id: about.KID, algorithm: string(about.ALG), key: key.Key()})
	}
	if len(keys) == 0 {
		return nil, errors.New("jwt: key set: no key that can be used")
	}
	return keys, nil
}
