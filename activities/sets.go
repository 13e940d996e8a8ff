package activities

// sets are disjoint sets of the numbers below n, joined step by step.
type sets []int

func newSets(n int) sets {
	s := make(sets, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func (s sets) find(i int) int {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

func (s sets) join(i, j int) { s[s.find(i)] = s.find(j) }

// names gives each number the smallest label in its set.
func (s sets) names(label func(i int) string) []string {
	smallest := map[int]string{}
	for i := range s {
		root := s.find(i)
		if l, ok := smallest[root]; !ok || label(i) < l {
			smallest[root] = label(i)
		}
	}
	out := make([]string, len(s))
	for i := range s {
		out[i] = smallest[s.find(i)]
	}
	return out
}
