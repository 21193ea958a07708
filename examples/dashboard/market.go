package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A Tick is the price of a symbol.
type Tick struct {
	Symbol string  `json:"symbol"`
	Price  float64 `json:"price"`
	N      int     `json:"n"` // how many there have been: what is between two was skipped
}

// Price is sent to everybody, with Latest.
var Price = core.NewEvent[Tick, core.None]("price")

// opening is what a market begins with.
var opening = []Tick{
	{Symbol: "AAPL", Price: 231.40},
	{Symbol: "AMZN", Price: 186.65},
	{Symbol: "EURUSD", Price: 1.0921},
	{Symbol: "GOLD", Price: 2654.10},
	{Symbol: "MSFT", Price: 418.16},
	{Symbol: "NFLX", Price: 707.30},
	{Symbol: "OIL", Price: 74.86},
	{Symbol: "TSLA", Price: 250.08},
}

// trade moves every price as often as that, until ctx ends.
func trade(ctx context.Context, ns *core.Namespace, every time.Duration) {
	ticks := append([]Tick(nil), opening...)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for i := range ticks {
			t := &ticks[i]
			t.Price *= 1 + 0.0005*rand.NormFloat64()
			t.N++
			// The key is the symbol: a price that still waits for a client is
			// replaced, and prices of other symbols are left alone.
			_ = Price.Emit(ctx, ns.To().Latest(t.Symbol), *t) // a tick always encodes
		}
	}
}
