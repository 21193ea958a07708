package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// desktop is a window on a desktop.
var desktop = chromedp.EmulateViewport(1280, 800)

// watchBadge collects what the badge of the chat page has shown.
const watchBadge = `
window.badges = [];
addEventListener("DOMContentLoaded", () => {
  const badge = document.getElementById("transport");
  if (!badge) return; // another page
  new MutationObserver(() => {
    if (badges.at(-1) !== badge.textContent) badges.push(badge.textContent);
  }).observe(badge, {childList: true, characterData: true, subtree: true});
});`

// The chat example in a real browser: two pages talk, the badge turns from
// polling to websocket, and a page that is reloaded leaves. Screenshots go to
// the artifacts directory.
func TestBrowser(t *testing.T) {
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	address := startChat(t)
	browser := startBrowser(t, chromium)
	ann, ben := newTab(browser, t), newTab(browser, t)
	for _, tab := range []*tab{ann, ben} {
		call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchBadge})
	}

	ann.join("Ann", address)
	ben.join("Ben", address)
	for _, tab := range []*tab{ann, ben} {
		tab.until("both are listed", `["Ann", "Ben"].every((name) => document.getElementById("people").innerText.includes(name))`)
		tab.until("badge turns to websocket", `document.getElementById("transport").textContent === "websocket"`)
		badges := get(tab, chromedp.Evaluate[[]string](`badges`))
		if d := diff([]string{"polling", "websocket"}, badges); d != "" {
			t.Errorf("badge (-want +got):\n%s", d)
		}
		scripts := get(tab, chromedp.Evaluate[[]string](
			`performance.getEntriesByType("resource").map((r) => r.name).filter((name) => name.includes("socket.io.min.js"))`))
		if d := diff([]string{address + "/socket.io/socket.io.min.js"}, scripts); d != "" {
			t.Errorf("client bundle (-want +got):\n%s", d)
		}
	}

	ann.say("Hi")
	ben.until("message of the other page", said("Ann", "Hi"))
	ben.say("Hello Ann, the other page here. The badge up there says websocket.")
	ann.until("answer", said("Ben", "Hello Ann"))
	ann.say("So it does. Both of us came in on polling.")
	ben.until("second message", said("Ann", "So it does"))
	ann.screenshots()

	ben.run(chromedp.Reload())
	ann.until("leaver is gone from the list", `!document.getElementById("people").innerText.includes("Ben")`)
	ann.until("notice of the leaver", `/Ben left/.test(document.getElementById("messages").innerText)`)
	ben.join("Ben", "")
	ann.until("leaver is back", `document.getElementById("people").innerText.includes("Ben")`)
	ben.until("what was said before", said("Ann", "Hi"))
}

// said is true when one message on the page has this author and this text.
func said(author, text string) string {
	return fmt.Sprintf(`[...document.getElementById("messages").children].some((item) => item.innerText.includes(%q) && item.innerText.includes(%q))`, author, text)
}

// startChat runs the chat example and returns its address.
func startChat(t *testing.T) string {
	t.Helper()
	return startExample(t, ".", "chat", "-client", bundles(t))[0]
}

// bundles is where the official client for browsers is.
func bundles(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("node_modules/socket.io-client/dist")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		missing(t, "the official client (npm ci in internal/interop)")
	}
	return dir
}

// startBrowser starts Chromium and returns the context of its first tab.
func startBrowser(t *testing.T, path string) context.Context {
	t.Helper()
	allocator, stop := chromedp.NewExecAllocator(
		context.Background(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), // it is small in containers
	)
	t.Cleanup(stop)
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("Chromium: %v", err)
		}
	})
	return ctx
}

// A tab is a page of the browser.
type tab struct {
	t   *testing.T
	ctx context.Context // chromedp's handle of it

	forgive atomic.Pointer[string] // if set, errors of the network that hold it are none
}

// newTab opens a tab with storage of its own. An exception or an error on the
// page's console fails the test.
func newTab(browser context.Context, t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	tab := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx, desktop); err != nil { // the first one opens the tab and must not have a timeout
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("exception on the page: %+v", event.ExceptionDetails)
		case *log.EventEntryAdded:
			forgiven := tab.forgive.Load()
			if event.Entry.Level == log.EntryLevelError && (forgiven == nil || !strings.Contains(event.Entry.Text, *forgiven)) {
				t.Errorf("error on the page: %s (%s)", event.Entry.Text, event.Entry.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func (tab *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tab.t.Fatal(err)
	}
}

// get runs an action that has a result.
func get[T any](tab *tab, action chromedp.Action[T]) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		tab.t.Fatal(err)
	}
	return result
}

// call sends a command of the DevTools protocol.
func call[P, R any](tab *tab, command cdp.Command[P, R], params P) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		tab.t.Fatal(err)
	}
}

// until waits for an expression to become true on the page.
func (tab *tab) until(what, expression string) {
	tab.t.Helper()
	_, err := chromedp.Run(tab.ctx, chromedp.Poll[bool](expression,
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		tab.t.Fatalf("%s: %v; the page says:\n%s", what, err, get(tab, chromedp.Evaluate[string](`document.body.innerText`)))
	}
}

// join enters the chat, at address or on the page that is there.
func (tab *tab) join(name, address string) {
	tab.t.Helper()
	if address != "" {
		tab.run(chromedp.Navigate(address))
	}
	tab.run(
		chromedp.WaitVisible(chromedp.CSS("#name")),
		chromedp.Clear(chromedp.CSS("#name")),
		chromedp.SendKeys(chromedp.CSS("#name"), name),
		chromedp.Click(chromedp.CSS("#join")),
		chromedp.WaitVisible(chromedp.CSS("#text")),
	)
	tab.until(name+" is in", fmt.Sprintf(`document.getElementById("people").innerText.includes(%q)`, name))
}

func (tab *tab) say(text string) {
	tab.t.Helper()
	tab.run(
		chromedp.SendKeys(chromedp.CSS("#text"), text),
		chromedp.Click(chromedp.CSS("#send")),
	)
}

// screenshots takes the page on a desktop and on a phone, light and dark.
func (tab *tab) screenshots() {
	tab.t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		dir = "../../artifacts"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tab.t.Fatal(err)
	}
	for device, viewport := range map[string]chromedp.Action[chromedp.Void]{
		"desktop": desktop,
		"phone":   chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateScale(2)),
	} {
		for _, scheme := range []string{"light", "dark"} {
			tab.run(viewport)
			call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			tab.until("the page is at rest", `document.getAnimations().every((a) => a.playState !== "running" || a.effect.getTiming().iterations === Infinity)`)
			image := get(tab, chromedp.CaptureScreenshot())
			name := filepath.Join(dir, "chat-"+device+"-"+scheme+".png")
			if err := os.WriteFile(name, image, 0o644); err != nil {
				tab.t.Fatal(err)
			}
			tab.t.Logf("screenshot: %s", name)
		}
	}
	call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	tab.run(desktop)
}
