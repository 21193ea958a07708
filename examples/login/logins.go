package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuer     = "https://login.example"
	cookieName = "login"
)

// passwords of the users. A real service keeps hashes, elsewhere.
var passwords = map[string]string{"ann": "tea", "ben": "coffee"}

// logins is the part of the site that knows who is logged in, by a cookie that no
// script can read. Who is gets tokens, which the page hands to the chat.
type logins struct {
	key    ed25519.PrivateKey
	ttl    time.Duration
	revoke func(ctx context.Context, user string) error

	mu    sync.Mutex        // guards users
	users map[string]string // by cookie
}

func newLogins(key ed25519.PrivateKey, ttl time.Duration, revoke func(ctx context.Context, user string) error) *logins {
	return &logins{key: key, ttl: ttl, revoke: revoke, users: make(map[string]string)}
}

// login checks a name and a password, and sets the cookie.
func (l *logins) login(w http.ResponseWriter, r *http.Request) {
	name, password := r.PostFormValue("name"), r.PostFormValue("password")
	want, known := passwords[name]
	if subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 0 || !known {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	cookie := rand.Text()
	l.mu.Lock()
	l.users[cookie] = name
	l.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// user is who sends a request, or "".
func (l *logins) user(r *http.Request) (name, cookie string) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return "", ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.users[c.Value], c.Value
}

// token makes a token for who is logged in.
func (l *logins) token(w http.ResponseWriter, r *http.Request) {
	name, _ := l.user(r)
	if name == "" {
		http.Error(w, "not logged in", http.StatusUnauthorized)
		return
	}
	// To the millisecond: a token of this second is newer than a logout before it.
	now := float64(time.Now().UnixMilli()) / 1000
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": issuer, "sub": name, "iat": now, "exp": now + l.ttl.Seconds(),
	}).SignedString(l.key)
	if err != nil {
		http.Error(w, "no token", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(token) // who has left needs none
}

// logout ends the login, and everything that the user has open.
func (l *logins) logout(w http.ResponseWriter, r *http.Request) {
	name, cookie := l.user(r)
	if name == "" {
		return
	}
	l.mu.Lock()
	delete(l.users, cookie)
	l.mu.Unlock()
	if err := l.revoke(r.Context(), name); err != nil {
		http.Error(w, "not everywhere", http.StatusInternalServerError)
	}
}
