//! The generated code, one module per protobuf package. Its documentation is that of the `.proto` files.
//!
//! Deliberately absent: anything written by hand. Checks and conversions are in [`crate::convert`].
#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

macro_rules! package {
    ($module:ident, $name:literal) => {
        #[doc = concat!("Package `", $name, "`.")]
        pub mod $module {
            /// Version 1, frozen but for additions.
            pub mod v1 {
                tonic::include_proto!($name);
            }
        }
    };
}

package!(admin, "hivemind.admin.v1");
package!(consensus, "hivemind.consensus.v1");
package!(history, "hivemind.history.v1");
package!(journal, "hivemind.journal.v1");
package!(marketdata, "hivemind.marketdata.v1");
package!(orders, "hivemind.orders.v1");
