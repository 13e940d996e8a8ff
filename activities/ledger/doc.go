// Package ledger owns what lies in the bucket beside releases, and what was
// remembered: the keys, the documents that stages hand to each other, the record
// of each run with the links back to it, and the results that later runs find
// instead of making them anew. Stages ask it and spell no key of their own.
//
// Two prefixes have other owners: releases/ is storage/release's, because those
// who read a release link nothing else, and artifacts/, named by content, is
// storage's.
package ledger
