package interop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// startExample builds and runs an example of the module at dir, seen from the
// root of the repository, on a free port. It returns the addresses that the
// example prints.
func startExample(t *testing.T, dir, name string, args ...string) (addresses []string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	pkg := "./examples/" + name
	if dir != "." {
		pkg = "./" + name
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join("../..", dir), "-race", "-o", binary, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup // of what it prints, which would block it
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		reading.Wait()
		err := cmd.Wait()
		// The small examples do nothing about signals.
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ok || status.Signal() != syscall.SIGTERM) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(stderr.String(), "DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			t.Logf("%s: %s", name, stderr.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		for word := range strings.FieldsSeq(lines.Text()) {
			if u, err := url.Parse(strings.TrimSuffix(word, ",")); err == nil && u.Scheme == "http" {
				addresses = append(addresses, strings.TrimSuffix(u.String(), "/"))
			}
		}
		if len(addresses) > 0 {
			reading.Go(func() { _, _ = io.Copy(io.Discard, stdout) }) // until it ends
			return addresses
		}
	}
	t.Fatalf("%s printed no address: %s", name, stderr.String())
	return nil
}

// text is what stands in the element with that id.
func (tab *tab) text(id string) string {
	tab.t.Helper()
	return get(tab, chromedp.Evaluate[string](fmt.Sprintf(`document.getElementById(%q).textContent`, id)))
}

// number is text as a number.
func (tab *tab) number(id string) int {
	tab.t.Helper()
	n, err := strconv.Atoi(tab.text(id))
	if err != nil {
		tab.t.Fatal(err)
	}
	return n
}

// shows waits until the element with that id holds a text.
func (tab *tab) shows(id, text string) {
	tab.t.Helper()
	tab.until(fmt.Sprintf("#%s with %q", id, text), fmt.Sprintf(`document.getElementById(%q)?.textContent.includes(%q)`, id, text))
}

// What is written on one page is read on the other, and the pages come back
// when their streams have been cut.
func TestExampleSSE(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	address := startExample(t, ".", "sse")[0]
	cable := startLink(t, strings.TrimPrefix(address, "http://"))
	browser := startBrowser(t, chromium)
	ann, ben := newTab(browser, t), newTab(browser, t)
	ann.run(chromedp.Navigate(address))
	ben.run(chromedp.Navigate(cable.url))
	write := func(tab *tab, text string) {
		tab.run(chromedp.SendKeys(chromedp.CSS("#text"), text), chromedp.Click(chromedp.CSS("#send")))
	}
	for _, tab := range []*tab{ann, ben} {
		tab.shows("state", "connected")
	}
	write(ann, "Hi\\ 漢字 🙂")
	ann.shows("answer", "2 could read it")
	ben.shows("wall", "Hi\\ 漢字 🙂")
	write(ben, "Hello")
	ann.shows("wall", "Hello")

	ben.forgive.Store(new("ERR_")) // the stream that is cut
	// It does not say so for long.
	_ = get(ben, chromedp.Evaluate[bool](`new MutationObserver(() => {
		if (document.getElementById("state").textContent === "trying again") window.triedAgain = true;
	}).observe(document.getElementById("state"), { childList: true }) ?? true`))
	cable.snap(true)
	ben.until("it is trying again", "window.triedAgain === true")
	ben.shows("state", "connected")
	write(ann, "Still there?")
	ann.shows("answer", "2 could read it")
	ben.shows("wall", "Still there?")
}

// A page on a slow line skips what it cannot take, and is not behind for it.
func TestExampleDashboard(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	addresses := startExample(t, ".", "dashboard", "-slow", "127.0.0.1:0", "-client", bundles(t))
	browser := startBrowser(t, chromium)
	fast, slow := newTab(browser, t), newTab(browser, t)
	fast.run(chromedp.Navigate(addresses[0]))
	slow.run(chromedp.Navigate(addresses[1]))
	fast.until("prices", `+document.getElementById("received").textContent > 100`)
	slow.until("prices that are skipped", `+document.getElementById("skipped").textContent > 2000`)

	const number = `+document.querySelector("#EURUSD td:last-child").textContent`
	shown := get(slow, chromedp.Evaluate[int](number))
	newest := get(fast, chromedp.Evaluate[int](number))
	// A backlog of 2000 would be 250 for each symbol.
	if behind := newest - shown; behind > 200 {
		t.Errorf("the slow page is %d prices behind, and has skipped %d", behind, slow.number("skipped"))
	}
}

// Two pages see who is there and where the other points.
func TestExampleCursors(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	address := startExample(t, ".", "cursors", "-client", bundles(t))[0]
	browser := startBrowser(t, chromium)
	enter := func(name string) *tab {
		tab := newTab(browser, t)
		tab.run(
			chromedp.Navigate(address),
			chromedp.SendKeys(chromedp.CSS("#name"), name),
			chromedp.Click(chromedp.CSS("#door button")),
		)
		tab.shows("people", name+" (you)")
		return tab
	}
	ann, ben := enter("Ann"), enter("Ben")
	ann.shows("people", "Ben")
	ben.shows("people", "Ann")

	point := func(from, to *tab, name string, x, y float64) {
		// A volatile move may be lost: people move on.
		for n, deadline := 0, time.Now().Add(patience); ; n++ {
			from.run(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x+float64(n%2), y))
			near := fmt.Sprintf(`[...document.querySelectorAll(".cursor")].some((c) => c.textContent === %q &&
				Math.hypot(parseFloat(c.style.translate) - %f, parseFloat(c.style.translate.split(" ")[1]) - %f) < 3)`, name, x, y)
			if get(to, chromedp.Evaluate[bool](near)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cursor of %s is not seen at %v, %v", name, x, y)
			}
		}
	}
	point(ann, ben, "Ann", 300, 200)
	point(ben, ann, "Ben", 700, 500)
	point(ann, ben, "Ann", 310, 600)

	ben.run(chromedp.Reload())
	ann.until("leaver is gone, and the cursor too",
		`!document.getElementById("people").textContent.includes("Ben") && !document.querySelector(".cursor")`)
}

// A file comes whole over a connection that is cut twice on the way.
func TestExampleUpload(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	dir := t.TempDir()
	address := startExample(t, ".", "upload", "-client", bundles(t), "-dir", dir, "-max", "5000000")[0]
	cable := startLink(t, strings.TrimPrefix(address, "http://"))
	browser := startBrowser(t, chromium)
	page := newTab(browser, t)
	page.forgive.Store(new("ERR_")) // requests that are cut
	page.run(chromedp.Navigate(cable.url))
	page.until("the page is ready", `document.querySelector("#file:enabled") !== null`)

	data := make([]byte, 4_000_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	sum := sha256.Sum256(data)
	choose := func(name string, data []byte) {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		page.run(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{path}))
	}
	cable.fuse.Store(1_500_000)
	choose("photo.raw", data)
	page.shows("cuts", "Gone on after 1 cut.")
	page.run(chromedp.Click(chromedp.CSS("#cut")))
	page.shows("result", "photo.raw is there. SHA-256: "+hex.EncodeToString(sum[:]))
	got, err := os.ReadFile(filepath.Join(dir, hex.EncodeToString(sum[:])))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}

	choose("film.raw", make([]byte, 5_000_001))
	page.shows("result", "film.raw was not taken: The file is larger than 5000000 bytes.")
}

// The middleware of a framework stands in front of every request of a session,
// and what it has found out reaches the handlers.
func TestExampleFrameworks(t *testing.T) {
	n := startNode(t)
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	browser := startBrowser(t, chromium)
	for name, greeting := range map[string]string{"gin": "Hello ann, from gin", "fiber": "Hello ann, from Fiber"} {
		t.Run(name, func(t *testing.T) {
			address := startExample(t, "examples/routers", name, "-client", bundles(t))[0]
			as := func(password string) map[string]any {
				login := base64.StdEncoding.EncodeToString([]byte("ann:" + password))
				return map[string]any{"extraHeaders": map[string]any{"Authorization": "Basic " + login}}
			}
			ann := n.open(t, "ann", address, as("secret"), nil)
			ann.event(t, "connect")
			ann.event(t, "upgrade")
			if d := diff([]any{greeting}, ann.call(t, "greet")); d != "" {
				t.Errorf("greeting (-want +got):\n%s", d)
			}
			n.open(t, "eve", address, as("guess"), nil).event(t, "connect_error")

			page := newTab(browser, t)
			page.run(chromedp.Navigate(strings.Replace(address, "http://", "http://ann:secret@", 1)))
			page.shows("greeting", greeting)
		})
	}
}

// A page that is logged in stays connected while its tokens are renewed, and no longer
// than the last of them.
func TestExampleLogin(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	address := startExample(t, ".", "login", "-client", bundles(t), "-ttl", "5s")[0]
	tab := newTab(startBrowser(t, chromium), t)
	tab.forgive.Store(new("401")) // of the wrong password, which the browser's console mentions
	tab.run(chromedp.Navigate(address))
	login := func(password string) {
		tab.run(
			chromedp.WaitVisible(chromedp.CSS("#login")),
			chromedp.SetValue(chromedp.CSS("#name"), "ann"), chromedp.SetValue(chromedp.CSS("#password"), password),
			chromedp.Click(chromedp.CSS("#enter")),
		)
	}
	login("coffee")
	tab.shows("state", "wrong name or password")
	login("tea")
	tab.shows("state", "connected")
	tab.run(chromedp.SendKeys(chromedp.CSS("#text"), "hello"), chromedp.Click(chromedp.CSS("#say")))
	tab.shows("said", "ann: hello")
	tab.until("tokens are renewed", `/renewed ([2-9]|\d\d)/.test(document.getElementById("token").textContent)`) // and it is there still
	tab.shows("state", "connected")
	tab.run(chromedp.Click(chromedp.CSS("#renew")))
	tab.shows("state", "expired")
	// Ticked before there is a token that wants to be renewed.
	_ = get(tab, chromedp.Evaluate[bool](`document.getElementById("renew").checked = true`))
	login("tea")
	tab.shows("state", "connected")
	tab.run(chromedp.Click(chromedp.CSS("#leave")))
	tab.shows("state", "revoked")
}
