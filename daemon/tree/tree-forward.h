#pragma once

/* The types of this layer, for headers that need no more than their names. */

typedef struct Checkout Checkout;
typedef struct Listing Listing;
typedef struct ListingCache ListingCache;
typedef struct NameList NameList;
typedef struct Namespace Namespace;
typedef struct Node Node;
typedef struct NodeTable NodeTable;
typedef struct Org Org;
typedef struct Owner Owner;
typedef struct Repo Repo;
