package adminui

// HoldChecks keeps all checks of passwords waiting until release is called.
func HoldChecks(a *Admin) (release func()) {
	for range cap(a.checks) {
		a.checks <- struct{}{}
	}
	return func() {
		for range cap(a.checks) {
			<-a.checks
		}
	}
}
