package fleet

import "testing"

// No two instances have one name, each gateway has its share of them, and one more gateway moves only those that it gets.
func TestNamesAndGateways(t *testing.T) {
	const many = 10_000
	seen := map[Name]bool{}
	var share [3]int
	for n := range many {
		name := NameOf(n)
		if seen[name] {
			t.Fatalf("two instances are called %v", name)
		}
		seen[name] = true
		before, after := GatewayOf(name.Instance, 2), GatewayOf(name.Instance, 3)
		if after != before && after != 2 {
			t.Errorf("%s moves from gateway %d to %d where a third one comes", name.Instance, before, after)
		}
		share[after]++
	}
	for g, n := range share {
		if n < many*3/10 || n > many*4/10 {
			t.Errorf("gateway %d has %d of %d instances, want about a third", g, n, many)
		}
	}
}
