"""The documents of the tracking call and of createNewStoreLocation: examples and schemas."""

from __future__ import annotations

from typing import Any

from tests.support.documented import BOOLEAN, INT32, INT64, NUMBER, STRING, ZULU_TIME, array, closed, open_to

TRACKING_EXAMPLE: dict[str, Any] = {
    "orderConfirmed": True,
    "orderStatus": "string",
    "orderProcessTimeInMin": 0,
    "orderDate": "2019-08-24T14:15:22Z",
    "tableTitle": "string",
    "servingWaiter": "string",
    "remarks": "string",
    "orderedItems": [
        {
            "itemId": "string",
            "image": "string",
            "name": "string",
            "description": "string",
            "price": 0,
            "quantity": 0,
            "totalPrice": 0,
            "additionalOptions": ["string"],
        }
    ],
}
TRACKING_SCHEMA = open_to(
    {
        "orderConfirmed": BOOLEAN,
        "orderStatus": STRING,
        "orderProcessTimeInMin": INT32,
        "orderDate": ZULU_TIME,
        "tableTitle": STRING,
        "servingWaiter": STRING,
        "remarks": STRING,
        "orderedItems": array(
            open_to(
                {
                    "itemId": STRING,
                    "image": STRING,
                    "name": STRING,
                    "description": STRING,
                    "price": INT64,
                    "quantity": NUMBER,
                    "totalPrice": INT32,
                    "additionalOptions": array(STRING),
                }
            )
        ),
    }
)
STOREHARMONY_ERROR_SCHEMA = closed({"success": {"const": False}, "message": {"type": "string", "minLength": 1}})

NEW_LOCATION_EXAMPLE: dict[str, Any] = {
    "storeinfo": {"taxRate": 0, "vatType": "string", "currency": "string"},
    "storeName": "string",
    "storeCountry": "string",
    "storeState": "string",
    "storeCity": "string",
    "storeFullAddress": "string",
    "storeLocLat": "string",
    "storeLocLng": "string",
    "storeCountryCode": "string",
    "storeStateCode": "string",
    "storeCityCode": "string",
    "email": "string",
    "mobile": "string",
    "storeProfileType": "string",
    "storeUsers": 0,
    "licensePlan": "string",
}
"""As printed; its `vatType` and `currency` are placeholders that the document's own patterns refuse."""

_GATEWAY = open_to({"gatewayProviderName": STRING, "gatewayType": STRING, "policyRemark": STRING})
_BANK = closed(
    {
        "bankCode": STRING,
        "internalAccountNo": STRING,
        "bankFullName": STRING,
        "userBankAccNo": STRING,
        "userBankAccName": STRING,
        "activated": BOOLEAN,
        "defaultAccount": BOOLEAN,
        "accountType": STRING,
    },
    optional=("internalAccountNo", "activated", "defaultAccount", "accountType"),
)
_FEATURE_STRINGS = """primaryColor helpline whatsappNo contactEmail contactAddress skypeAddress facebookPage youtubePage
    googlePlus skypeId transxIdPref googleCredentials pinterestSupport mobileAppLink vatType"""
_FEATURE_BOOLEANS = """reserveOrderSupport returnsSupported cashOnDelivery socialMediaEnabled promoOngoing
    realtimeEnabled wholesaleEnabled mobileAppEnabled gpsEnabled"""
_FEATURES = open_to(
    {
        **dict.fromkeys(_FEATURE_STRINGS.split(), STRING),
        **dict.fromkeys(_FEATURE_BOOLEANS.split(), BOOLEAN),
        "deliverytime": INT32,
        "gpsLat": NUMBER,
        "gpsLng": NUMBER,
        "partners": array(STRING),
    }
)
_LOCATION_STRINGS = """accessToken sessionId originalStoreId sitename siteTitle siteSEO domain businessname address
    stateOfCountry country insuranceTrackId licensePlan id category logoPath emailAddress contactPhone contactPhone2
    facebookId twitterId instagramId youtubechannel whatsappline currency cacNo bvnNo tinNo aboutStore openingTime
    closingTime userClass taxType faviconurl businessTagline storePolicy storeRole contactEmail2 basicStoreInfo aboutUs
    defaultCustomerName customerId newPassword oldPassword staffId logo seoTags tagLine secondarySiteThemeColor
    primarySiteThemeColor primaryButtonColor primaryThemeFont googleCredentials"""
NEVER_SENT = (
    "cacNo", "bvnNo", "tinNo", "newPassword", "oldPassword", "defaultBank", "bankAccounts", "googleCredentials",
)  # fmt: skip
"""Documented members that hold bank, password or identity data."""
LOCATION_SCHEMA = open_to(
    {
        **dict.fromkeys(_LOCATION_STRINGS.split(), STRING),
        **dict.fromkeys(("success", "cloudOnlyStore", "enableLiveStore", "mergeWithCentral"), BOOLEAN),
        **dict.fromkeys(("taxRate", "storeGpsLatitude", "storeGpsLongitude"), NUMBER),
        "defaultGateway": _GATEWAY,
        "features": _FEATURES,
        "defaultBank": _BANK,
        "paymentGateways": array(_GATEWAY),
        "bankAccounts": array(_BANK),
        "deliveryPoints": array(open_to({"pname": STRING, "ptype": STRING, "pid": STRING})),
        "banners": array(
            open_to({"itemId": STRING, "bannerUrl": STRING, "serialId": INT32, "title": STRING, "addedDate": ZULU_TIME})
        ),
        "ads": array(open_to({"bannerRedirectUrl": STRING, "bannerImageUrl": STRING})),
        "storeGroups": array(STRING),
        "monthlyFees": INT64,
        "expireDate": ZULU_TIME,
    }
)
