package jwt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/auth/jwt"
)

// An issuer is an http.RoundTripper that publishes keys.
type issuer struct {
	mu      sync.Mutex // guards what follows
	body    string
	status  int
	err     error
	hang    bool // answers when the request ends
	took    time.Duration
	fetches int
}

func (i *issuer) publish(keys ...map[string]any) {
	i.set(func() { i.body, i.err, i.hang = set(keys...), nil, false })
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// RoundTrip implements http.RoundTripper.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches++
	body, status, err, hang, took := i.body, i.status, i.err, i.hang, i.took
	i.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	<-time.After(took)
	if err != nil {
		return nil, err
	}
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// relying is what relies on the issuer.
func relying(t *testing.T, i *issuer, o jwt.KeySetOptions) *jwt.Verifier {
	t.Helper()
	o.Client = &http.Client{Transport: i}
	keys, err := jwt.NewKeySet("https://id.example/keys", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return newVerifier(t, jwt.Options{Algorithms: []string{"RS256", "ES256", "ES384", "EdDSA"}, KeySet: keys})
}

func check(t *testing.T, v *jwt.Verifier, token string, want error) {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

// Keys of all kinds are fetched once, when they are needed.
func TestKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		i.publish(
			jwk("rsa", &rsaKey().PublicKey, "use", "sig", "alg", "RS256"), jwk("ec", &p256Key().PublicKey), jwk("ec384", &p384Key().PublicKey),
			jwk("ed", edKey().Public(), "alg", "EdDSA"),
			jwk("secret", secret), jwk("for encryption", otherKey().Public(), "use", "enc"), jwk("for PS", &rsaKey().PublicKey, "alg", "PS256"),
			jwk("weak", &weakKey().PublicKey), map[string]any{"kty": "new", "kid": "unknown kind"}, map[string]any{"kty": 7},
			map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "not on the curve"},
		)
		v := relying(t, i, jwt.KeySetOptions{})
		if i.count() != 0 {
			t.Error("fetched before anybody asked")
		}
		claims := map[string]any{"sub": "ann"}
		for kid, token := range map[string]string{
			"rsa":   sign(t, "RS256", "rsa", rsaKey(), claims),
			"ec":    sign(t, "ES256", "ec", p256Key(), claims),
			"ec384": sign(t, "ES384", "ec384", p384Key(), claims),
			"ed":    sign(t, "EdDSA", "ed", edKey(), claims),
			"":      sign(t, "EdDSA", "", edKey(), claims), // there is one only that fits
		} {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("%s: %v", kid, err)
			}
		}
		for name, token := range map[string]string{
			"a key for another algorithm": sign(t, "RS256", "for PS", rsaKey(), claims),
			"a key for encryption":        sign(t, "EdDSA", "for encryption", otherKey(), claims),
			"a weak key":                  sign(t, "RS256", "weak", weakKey(), claims),
			"another kind of key":         sign(t, "EdDSA", "rsa", edKey(), claims),
			"a published secret":          sign(t, "HS256", "secret", secret, claims),
			"of another":                  sign(t, "EdDSA", "ed", otherKey(), claims),
			"a broken key":                sign(t, "ES256", "not on the curve", p256Key(), claims),
		} {
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}

		two := new(issuer)
		two.publish(jwk("a", edKey().Public()), jwk("b", otherKey().Public()))
		check(t, relying(t, two, jwt.KeySetOptions{}), sign(t, "EdDSA", "", edKey(), claims), auth.ErrInvalid) // which?
	})
}

// The issuer changes its keys in mid-flight, and no token of either is refused;
// key ids that clients invent cost it one request in a while.
func TestKeySetRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{took: time.Second}
		i.publish(jwk("one", edKey().Public()))
		v := relying(t, i, jwt.KeySetOptions{})
		one := sign(t, "EdDSA", "one", edKey(), nil)
		two := sign(t, "EdDSA", "two", otherKey(), nil)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { check(t, v, one, nil) })
		}
		all.Wait()
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches for all who came first", n)
		}
		check(t, v, two, auth.ErrInvalid) // too soon
		<-time.After(10 * time.Second)
		i.publish(jwk("one", edKey().Public()), jwk("two", otherKey().Public()))
		for range 20 {
			all.Go(func() { check(t, v, two, nil) })
			all.Go(func() { check(t, v, one, nil) })
		}
		all.Wait()
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
		start := time.Now()
		for n := range 1000 {
			check(t, v, sign(t, "EdDSA", fmt.Sprint("invented", n), edKey(), nil), auth.ErrInvalid)
			<-time.After(100 * time.Millisecond)
		}
		if n, most := i.count()-2, int(time.Since(start)/(10*time.Second))+1; n > most {
			t.Errorf("%d fetches for invented keys in %v", n, time.Since(start))
		}

		// A key that is gone is not valid any more, once that is known.
		i.publish(jwk("two", otherKey().Public()))
		<-time.After(15*time.Minute + time.Nanosecond)
		check(t, v, one, nil) // is old, and used while it is fetched
		<-time.After(time.Second)
		synctest.Wait()
		check(t, v, one, auth.ErrInvalid)
		check(t, v, two, nil)
	})
}

// While the issuer is down its keys are used on, but not for ever.
func TestKeySetDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{hang: true}
		v := relying(t, i, jwt.KeySetOptions{})
		token := sign(t, "EdDSA", "one", edKey(), nil)
		unknown := sign(t, "EdDSA", "two", otherKey(), nil)
		start := time.Now()
		check(t, v, token, auth.ErrUnavailable)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %v", took)
		}
		check(t, v, token, auth.ErrUnavailable) // at once
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}
		<-time.After(10 * time.Second)
		i.publish(jwk("one", edKey().Public()))
		check(t, v, token, nil)

		for what, broken := range map[string]func(){
			"connection": func() { i.err = errors.New("refused") },
			"hangs":      func() { i.hang = true },
			"status":     func() { i.status = http.StatusBadGateway },
			"no JSON":    func() { i.body = "<html>" },
			"no keys":    func() { i.body = `{"keys":[]}` },
			"no use":     func() { i.body = set(jwk("x", secret)) },
			"too long":   func() { i.body = set(jwk("one", edKey().Public())) + strings.Repeat(" ", 1<<20) },
		} {
			i.set(func() { broken() })
			<-time.After(16 * time.Minute)
			start = time.Now()
			check(t, v, token, nil)
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: waited %v", what, took)
			}
			synctest.Wait()
			<-time.After(20 * time.Second)
			check(t, v, unknown, auth.ErrUnavailable) // it could be new
			i.set(func() { i.status = 0 })
			i.publish(jwk("one", edKey().Public()))
			<-time.After(10 * time.Second)
			check(t, v, unknown, auth.ErrInvalid)
		}
		i.set(func() { i.err = errors.New("refused") })
		<-time.After(24*time.Hour + time.Nanosecond)
		check(t, v, token, auth.ErrUnavailable)
		i.publish(jwk("one", edKey().Public()))
		<-time.After(10 * time.Second)
		check(t, v, token, nil)
	})
}

// Who waits for keys can give up, without the fetch ending for others.
func TestKeySetWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{took: 5 * time.Second}
		i.publish(jwk("one", edKey().Public()))
		v := relying(t, i, jwt.KeySetOptions{})
		token := sign(t, "EdDSA", "one", edKey(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, token); !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up with %v", err)
		}
		check(t, v, token, nil)
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestKeySetClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{hang: true}
		keys, err := jwt.NewKeySet("https://id.example/keys", jwt.KeySetOptions{Client: &http.Client{Transport: i}})
		if err != nil {
			t.Fatal(err)
		}
		v := newVerifier(t, jwt.Options{Algorithms: []string{"EdDSA"}, KeySet: keys})
		token := sign(t, "EdDSA", "one", edKey(), nil)
		var waiting sync.WaitGroup
		waiting.Go(func() { check(t, v, token, auth.ErrUnavailable) })
		synctest.Wait()
		keys.Close()
		waiting.Wait()
		<-time.After(time.Hour)
		check(t, v, token, auth.ErrUnavailable)
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}

		unused := made(jwt.NewKeySet("https://id.example/keys", jwt.KeySetOptions{}))
		unused.Close()
		check(t, newVerifier(t, jwt.Options{Algorithms: []string{"EdDSA"}, KeySet: unused}), token, auth.ErrUnavailable)
	})
}

func TestKeySetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(jwk("one", edKey().Public()))
		length := int64(len(i.body))
		token := sign(t, "EdDSA", "one", edKey(), nil)
		check(t, relying(t, i, jwt.KeySetOptions{MaxBytes: length}), token, nil)
		check(t, relying(t, i, jwt.KeySetOptions{MaxBytes: length - 1}), token, auth.ErrUnavailable)

		v := relying(t, i, jwt.KeySetOptions{Refresh: time.Second, MinInterval: 2 * time.Second, MaxStale: 3 * time.Second, Timeout: time.Second})
		check(t, v, token, nil)
		i.set(func() { i.hang = true })
		<-time.After(3 * time.Second)
		check(t, v, token, nil)
		<-time.After(time.Second)
		check(t, v, token, auth.ErrUnavailable)
	})
	for want, o := range map[string]jwt.KeySetOptions{
		"negative duration":    {MaxStale: -1},
		"MaxBytes is negative": {MaxBytes: -1},
	} {
		if _, err := jwt.NewKeySet("https://id.example", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Keys come by https, or from this machine, also when somebody redirects.
func TestKeySetAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://id.example/keys":    true,
		"http://127.0.0.1:8080/keys": true,
		"http://[::1]/keys":          true,
		"http://localhost/keys":      true,
		"http://id.example/keys":     false,
		"http://127.0.0.1.example/":  false,
		"ftp://127.0.0.1/keys":       false,
		"/keys":                      false,
		"":                           false,
		"https://id.example/%":       false,
	} {
		keys, err := jwt.NewKeySet(address, jwt.KeySetOptions{})
		if ok != (err == nil) {
			t.Errorf("%q: %v", address, err)
		}
		if err == nil {
			keys.Close()
		}
	}
	made(jwt.NewKeySet("http://id.example/keys", jwt.KeySetOptions{InsecureHTTP: true})).Close()

	var target string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_, _ = io.WriteString(w, set(jwk("one", edKey().Public())))
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	defer site.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // it is one
	token := sign(t, "EdDSA", "one", edKey(), nil)
	for to, want := range map[string]string{
		"/keys": "", "http://192.0.2.1/keys": "not safe", "/round": "too many redirects",
	} {
		target = to
		keys := made(jwt.NewKeySet(site.URL+"/", jwt.KeySetOptions{}))
		_, err := newVerifier(t, jwt.Options{Algorithms: []string{"EdDSA"}, KeySet: keys}).Verify(t.Context(), token)
		if want == "" && err != nil || want != "" && (!errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
		keys.Close()
	}
}

// What an issuer publishes is read or refused, and gives no key that cannot be
// used.
func FuzzKeySet(f *testing.F) {
	f.Add(set(jwk("rsa", &rsaKey().PublicKey, "use", "sig"), jwk("ec", &p256Key().PublicKey), jwk("ed", edKey().Public()), jwk("oct", secret)))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQ","e":"_____________w"}]}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","x5c":["AA"]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := jwt.ParseKeySet([]byte(text))
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			if _, secret := key.Key().([]byte); secret {
				t.Error("a secret that everybody knows")
			}
		}
	})
}
