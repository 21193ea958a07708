package cluster_test

import (
	"testing"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(*testing.T) func() core.Adapter {
		bus := new(adaptertest.Bus)
		return func() core.Adapter { return cluster.New(bus.Engine(), cluster.Options{}) }
	})
}

func TestRecovery(t *testing.T) {
	adaptertest.RunRecovery(t, func(*testing.T) func() core.Adapter {
		bus := new(adaptertest.Bus)
		return func() core.Adapter { return cluster.NewRecovering(bus.Engine(), cluster.Options{}) }
	})
}

// An adapter that could recover works without Options.Recovery, too.
func TestRecoveringAdapter(t *testing.T) {
	adaptertest.Run(t, func(*testing.T) func() core.Adapter {
		bus := new(adaptertest.Bus)
		return func() core.Adapter { return cluster.NewRecovering(bus.Engine(), cluster.Options{}) }
	})
}
